// A button that is clicked on and off, or held: by a pointer, by the space bar, or by what assists a person.

const HOLD_MS = 350;

/**
 * Make a button turn something on and off by clicks, and on for as long as it is held.
 *
 * `onHold(true)` comes with the press that turned it on, `onHold(false)` with its end; `letGo()` ends a long one.
 */
export function holdable(button, { isOn, turnOn, turnOff, letGo, onHold }) {
  let pressed = null; // when the press began that turned it on
  let isPressClick = false; // the click that follows such a press says nothing new

  function press(event) {
    pressed = event.timeStamp;
    onHold(true);
    turnOn();
  }

  function release(event) {
    if (pressed === null) return;
    const held = event.timeStamp - pressed;
    pressed = null;
    onHold(false);
    if (held >= HOLD_MS && isOn()) letGo();
  }

  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    isPressClick = !isOn();
    if (!isPressClick) return;
    press(event);
    button.setPointerCapture(event.pointerId); // it is noticed wherever it is let go
  });
  button.addEventListener("pointerup", release);
  button.addEventListener("pointercancel", release);
  button.addEventListener("contextmenu", (event) => pressed !== null && event.preventDefault()); // of a long touch
  button.addEventListener("click", (event) => {
    if (isPressClick && event.detail) return;
    if (isOn()) turnOff();
    else turnOn();
  });

  button.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.repeat) event.preventDefault();
    if (event.key !== " ") return;
    event.preventDefault();
    if (event.repeat || pressed !== null) return;
    if (isOn()) turnOff();
    else press(event);
  });
  button.addEventListener("keyup", (event) => {
    if (event.key !== " ") return;
    event.preventDefault(); // it would click
    release(event);
  });
  button.addEventListener("blur", release); // the key is let go where we do not see it
}
