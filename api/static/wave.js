// The waves of recordings and replies: how they look, and the numbers that they are drawn from.

import WaveSurfer from "./vendor/wavesurfer.esm.js";

// The page's policy names the style sheet that wavesurfer.js writes for waves of this height, in pixels.
export const HEIGHT = 36;
