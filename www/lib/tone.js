// The sound of a call that comes in: a soft two-note tone, in one tab at a time.

const NOTES = [660, 880];
const EVERY_MS = 3_000;

/** Plays until the returned function is called. A page that nobody has touched yet stays silent: browsers want it so. */
export function startTone() {
  let stop = () => {};
  const over = new Promise((/** @type {(value?: undefined) => void} */ resolve) => (stop = () => resolve()));
  if (navigator.locks) void navigator.locks.request("pilotlight/tone", { ifAvailable: true }, (lock) => lock && play(over));
  else void play(over);
  return () => stop();
}

/** @param {Promise<undefined>} over */
async function play(over) {
  const context = new AudioContext();
  const once = () => NOTES.forEach((pitch, n) => note(context, pitch, context.currentTime + n * 0.22));
  once();
  const timer = setInterval(once, EVERY_MS);
  await over;
  clearInterval(timer);
  await context.close();
}

/** @param {AudioContext} context @param {number} pitch in Hz @param {number} at in seconds */
function note(context, pitch, at) {
  const [oscillator, gain] = [context.createOscillator(), context.createGain()];
  oscillator.frequency.value = pitch;
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(0.12, at + 0.03);
  gain.gain.exponentialRampToValueAtTime(0.001, at + 0.4);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(at);
  oscillator.stop(at + 0.45);
}
