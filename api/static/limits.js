// How large and long a voice note may be: the server says it.

import { t } from "./i18n.js";
import { BITS_PER_S } from "./microphone.js";

const SPARE = 0.9; // of what a recording weighs: its container and loud passages weigh, too

/** `mb` and `seconds` are the server's; `bytes` of a file, `recordingS` of what is recorded here. */
export const limits = {};

/** Take them from what the server says of itself. */
export function learnLimits({ max_upload_mb: mb, max_audio_s: seconds }) {
  const bytes = mb * 1_000_000;
  Object.assign(limits, { mb, seconds, bytes, recordingS: Math.min(seconds, (bytes * 8 * SPARE) / BITS_PER_S) });
}

/** The `{mb}` and the `{length}` of words that tell them. */
export function limitsInWords() {
  const { mb, seconds } = limits;
  const isMinutes = seconds % 60 === 0;
  return { mb, length: t(isMinutes ? "time.minutes" : "time.seconds", { n: isMinutes ? seconds / 60 : seconds }) };
}
