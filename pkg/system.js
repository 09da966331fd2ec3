// What the browser's IdleDetector knows of the user beyond the page. Nobody is asked for the permission here: an
// application may ask with `IdleDetector.requestPermission()`, and what it is granted counts from then on.

const USUAL_THRESHOLD_MS = 180_000;

/**
 * Tells the client, for as long as the permission lasts, whether somebody uses the machine; ends with the
 * controller that it returns.
 */
export function watchSystem(client, threshold = USUAL_THRESHOLD_MS) {
  const ended = new AbortController();
  if (typeof IdleDetector === "function" && typeof document === "object") void watch(client, threshold, ended.signal);
  return ended;
}

async function watch(client, threshold, signal) {
  const permission = await navigator.permissions.query({ name: "idle-detection" }).catch(() => undefined);
  if (permission?.state === "granted") await detect(client, threshold, signal);
  else permission?.addEventListener("change", () => void watch(client, threshold, signal), { once: true, signal });
}

async function detect(client, threshold, signal) {
  const detector = new IdleDetector();
  const tell = () => {
    if (signal.aborted || detector.userState === null) return;
    client.handleSystem(detector.screenState === "locked" ? "locked" : detector.userState, threshold);
  };
  detector.addEventListener("change", tell, { signal });
  try {
    await detector.start({ threshold, signal });
    tell();
  } catch {
    // A document's policy may forbid what the user allowed: then the page's own events are all there is.
  }
}
