// The ways of a slider that shows a place in a sound: drag and click, and the keys that a slider has.

const STEP_S = 1;
const LONG_STEP_S = 5;
const LONG_S = 60; // sounds longer than this are gone through in longer steps

/** Let a slider seek: `here()` and `length()` in seconds, `seek(seconds)`; space and Enter `toggle()`. */
export function seekable(slider, { length, here, seek, toggle }) {
  const seekTo = (event) => {
    const box = slider.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length());
  };
  slider.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    seekTo(event);
    slider.setPointerCapture(event.pointerId);
  });
  slider.addEventListener("pointermove", (event) => slider.hasPointerCapture(event.pointerId) && seekTo(event));
  slider.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const move = moveOf(event.key, length());
    if (move !== undefined) seek(here() + move);
    else if (event.key === " " || event.key === "Enter") toggle();
    else return;
    event.preventDefault();
  });
}

function moveOf(key, length) {
  const step = length > LONG_S ? LONG_STEP_S : STEP_S;
  const moves = {
    ArrowRight: step,
    ArrowUp: step,
    ArrowLeft: -step,
    ArrowDown: -step,
    PageUp: length / 10,
    PageDown: -length / 10,
    Home: -Infinity,
    End: Infinity,
  };
  return moves[key];
}
