// The waves of recordings and replies: the numbers that they are drawn from, and how they look.

import WaveSurfer from "./vendor/wavesurfer.esm.js";

// The page's policy names the style sheet that wavesurfer.js writes for waves of this height, in pixels.
export const HEIGHT = 36;

const PEAKS = 240;
const DECODING_HZ = 8000; // enough for a picture
const waves = new Set();

/** How loud a sound is along its length (0 to 1), and how long it is, in seconds. */
export async function pictureOf(blob) {
  const decoder = new OfflineAudioContext(1, 1, DECODING_HZ); // unlike an AudioContext it needs no gesture
  const sound = await decoder.decodeAudioData(await blob.arrayBuffer());
  const samples = sound.getChannelData(0);
  const step = Math.max(1, Math.floor(samples.length / PEAKS));
  const peaks = new Float32Array(Math.ceil(samples.length / step));
  for (let n = 0; n < samples.length; n += 1) {
    const level = Math.abs(samples[n]);
    const place = Math.floor(n / step);
    if (level > peaks[place]) peaks[place] = level;
  }
  return { peaks, duration: sound.duration };
}

/** A wave in `container` that follows `media`; it recolours itself when the page's colours change. */
export function drawWave(container, options = {}) {
  const wave = WaveSurfer.create({
    container,
    height: HEIGHT,
    barWidth: 2,
    barGap: 2,
    barRadius: 2,
    barMinHeight: 2,
    cursorWidth: 0,
    interact: false,
    hideScrollbar: true,
    normalize: true,
    ...colours(container),
    ...options,
  });
  waves.add(wave);
  wave.on("destroy", () => waves.delete(wave));
  watchTheme();
  return wave;
}

function colours(container) {
  const style = getComputedStyle(container);
  return { waveColor: style.color, progressColor: style.caretColor };
}

let watching = false;

function watchTheme() {
  if (watching) return;
  watching = true;
  const recolour = () => {
    for (const wave of waves) wave.setOptions(colours(wave.options.container));
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  const observer = new MutationObserver(recolour);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["class", "data-theme"] });
}
