#!/usr/bin/env bash
# Makes an own certification authority, and server certificates from it, for tests and demonstrations.
#
#   scripts/make-ca.sh DIR NAME...
#
# NAME is what the certificate is for: a host name or an IP address; the first is also the name of its
# files. Several names separated by commas share one certificate: `localhost,127.0.0.1,::1`.
# Afterwards DIR holds ca.pem (to trust) and, for each, NAME.pem and NAME.key. What is there and still
# holds for a day is kept, so that a second run changes nothing.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
"$(dirname "$0")/need.sh" openssl
umask 077
mkdir -p "$1"
cd "$1"
shift

DAYS=30
DAY=86400

fresh() { [ -f "$1" ] && openssl x509 -in "$1" -noout -checkend $DAY >/dev/null; }
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# alternatives NAMES: what goes into subjectAltName. Only addresses have colons, or digits and dots alone.
alternatives() {
  local name sep=
  for name in ${1//,/ }; do
    if [[ $name == *:* || $name =~ ^[0-9.]+$ ]]; then printf '%sIP:%s' "$sep" "$name"; else printf '%sDNS:%s' "$sep" "$name"; fi
    sep=,
  done
}

if ! fresh ca.pem || [ ! -f ca.key ]; then
  new_key ca.key
  openssl req -x509 -new -key ca.key -sha256 -days $DAYS -subj "/CN=Pilotlight test authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
fi

for names in "$@"; do
  file=${names%%,*}
  if fresh "$file.pem" && openssl verify -CAfile ca.pem "$file.pem" >/dev/null 2>&1 \
    && [ "$(cat "$file.names" 2>/dev/null)" = "$names" ]; then continue; fi
  new_key "$file.key"
  openssl req -new -key "$file.key" -subj "/CN=$file" \
    | openssl x509 -req -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -sha256 -days $DAYS \
      -extfile <(printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=serverAuth,clientAuth" subjectKeyIdentifier=hash authorityKeyIdentifier=keyid \
        "subjectAltName=$(alternatives "$names")") \
      -out "$file.pem" 2>/dev/null
  printf %s "$names" >"$file.names"
done
