// The microphone: opened, listened to while it records, and always let go.

const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];
const ENDINGS = { "audio/webm": "webm", "audio/ogg": "ogg", "audio/mp4": "m4a" };
export const BITS_PER_S = 64_000;
const WISHES = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
const TICK_MS = 50;
const SILENCE_S = 1.5; // as long as a pause within what somebody says may be
const SPEECH_S = 0.25; // shorter is a click or a cough
const FAINTEST = 0.008; // of full scale: no speech is fainter
const DEAD = 0.0001; // a microphone that is on is louder, whatever the room

/** Why there can be no recording here, as a key of the strings, or null. */
export function obstacle() {
  if (!globalThis.isSecureContext) return "rec.insecure";
  if (!navigator.mediaDevices?.getUserMedia || typeof MediaRecorder === "undefined") return "rec.unsupported";
  return TYPES.some((type) => MediaRecorder.isTypeSupported(type)) ? null : "rec.unsupported";
}

/** What went wrong while the microphone was opened, as a key of the strings. */
export function troubleOf(error) {
  const keys = {
    NotAllowedError: "rec.denied",
    SecurityError: "rec.denied",
    NotFoundError: "rec.none",
    OverconstrainedError: "rec.none",
    NotReadableError: "rec.busy",
    AbortError: "rec.busy",
  };
  return keys[error?.name] ?? "rec.failed";
}

/**
 * Open the microphone and record. `onTick({level, seconds})` is called many times a second, `onSilence()` when speech was
 * followed by silence, `onLost()` when the microphone went away; `signal` ends everything.
 */
export async function record({ signal, onTick, onSilence, onLost }) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: WISHES });
  const release = () => stream.getTracks().forEach((track) => track.stop());
  if (signal.aborted) {
    release();
    throw signal.reason;
  }
  signal.addEventListener("abort", release, { once: true });
  try {
    return begin(stream, release, { signal, onTick, onSilence, onLost });
  } catch (error) {
    release();
    throw error;
  }
}

function begin(stream, release, { signal, onTick, onSilence, onLost }) {
  const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one));
  const recorder = new MediaRecorder(stream, { mimeType: type, audioBitsPerSecond: BITS_PER_S });
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  context.resume();
  const samples = new Float32Array(analyser.fftSize);
  const ear = new Ear();
  const parts = [];
  const stopped = new Promise((resolve, reject) => {
    recorder.addEventListener("stop", resolve, { once: true });
    recorder.addEventListener("error", (event) => reject(event.error), { once: true });
  });
  stopped.catch(() => {}); // told by stop()
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  let loudest = 0;

  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const level = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
    loudest = Math.max(loudest, level);
    onTick({ level, seconds: seconds() });
    if (ear.hears(level, seconds())) onSilence();
  }, TICK_MS);

  const end = () => {
    clearInterval(timer);
    context.close().catch(() => {});
    release();
  };
  signal.addEventListener("abort", end, { once: true });
  stream.getTracks().forEach((track) => track.addEventListener("ended", () => signal.aborted || onLost(), { once: true }));
  recorder.addEventListener("dataavailable", (event) => event.data.size && parts.push(event.data));
  recorder.start();

  return {
    stream,
    /** End it: the sound, its length, and whether nothing at all was to be heard, as of a muted microphone. */
    async stop() {
      const duration = seconds();
      const isSilent = context.state === "running" && loudest < DEAD;
      try {
        if (recorder.state !== "inactive") recorder.stop(); // else the microphone went away
        await stopped;
      } finally {
        end();
      }
      const plain = (recorder.mimeType || type).split(";")[0];
      return { blob: new Blob(parts, { type: plain }), duration, isSilent, filename: `recording.${ENDINGS[plain] ?? "webm"}` };
    },
  };
}

/** Tells when somebody who spoke has fallen silent, however noisy the room is. */
class Ear {
  #noise = FAINTEST / 4;
  #spoken = 0;
  #quietSince = null;
  #last = 0;

  hears(level, now) {
    const passed = now - this.#last;
    this.#last = now;
    const speaks = level > Math.max(FAINTEST, this.#noise * 4);
    const pace = level < this.#noise ? 0.5 : speaks ? 0.002 : 0.02;
    this.#noise += (level - this.#noise) * pace;
    if (speaks) {
      this.#spoken += passed;
      this.#quietSince = null;
      return false;
    }
    this.#quietSince ??= now;
    const isDone = this.#spoken >= SPEECH_S && now - this.#quietSince >= SILENCE_S;
    if (isDone) this.#spoken = 0;
    return isDone;
  }
}
