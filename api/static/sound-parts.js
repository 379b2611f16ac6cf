// Small parts that the recorder and the players are built of.

const SVG = "http://www.w3.org/2000/svg";
// Outlines in a square of 24.
const ICONS = {
  microphone: "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3",
  stop: "M7 7h10v10H7z",
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M8 5.5v13M16 5.5v13",
  discard: "M5 7h14M10 7V4.5h4V7M7 7l1 12.5h8L17 7M10.5 10.5v5.5M13.5 10.5v5.5",
  again: "M4.5 12a7.5 7.5 0 1 0 2.4-5.5M4.5 4.5v4.2h4.2",
  send: "M4.5 12 20 4.5 15 20l-3.5-6.5zM11.5 13.5 20 4.5",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 19.5h14",
};

/** An element; what is undefined is left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A button that shows an icon, with its name for those who hear it. */
export function iconButton(className, name, label) {
  const button = make("button", { type: "button", class: `sound-button ${className}` }, icon(name));
  rename(button, label);
  return button;
}

export function rename(button, label) {
  if (button.title === label) return;
  button.setAttribute("aria-label", label);
  button.title = label;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Show another icon in a button. */
export function setIcon(button, name) {
  button.querySelector("path").setAttribute("d", ICONS[name]);
}

/** Seconds as a player shows them: 0:07, 10:00, 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

let sounding = null; // the player that sounds, or is about to
const waiting = []; // what begins by itself, in this order

/** One sound at a time: whatever else sounds is paused. */
export function soundsNow(player) {
  if (sounding !== player) sounding?.pause();
  sounding = player;
}

/** It was paused, or taken away: what waits goes on waiting. */
export function soundsNot(player) {
  if (sounding === player) sounding = null;
}

/** It has ended, or was stopped: what waits is next. */
export function soundsNoMore(player) {
  soundsNot(player);
  next();
}

/** Let something begin by itself, when nothing else sounds and what came before it is over. */
export function waitForTurn(begin) {
  waiting.push(begin);
  next();
}

/** It begins otherwise, or never. */
export function leaveTurn(begin) {
  if (waiting.includes(begin)) waiting.splice(waiting.indexOf(begin), 1);
}

/** Pause whatever sounds, and let nothing begin that waits. */
export function silence() {
  waiting.length = 0;
  soundsNow(null);
}

function next() {
  while (!sounding && waiting.length) waiting.shift()();
}

export let chosenSpeed = null; // of all players

/** Begin with this speed, unless there is one. */
export function firstSpeed(rate = 1) {
  chosenSpeed ??= rate;
}

/** Play all at this speed from now on. */
export function chooseSpeed(rate) {
  chosenSpeed = rate;
  sounding?.setSpeed(rate);
}

/** Do what ends in a promise at most `most` at a time, in the order asked. */
export function limiter(most) {
  const waiting = [];
  let running = 0;
  const next = () => {
    while (running < most && waiting.length) {
      running += 1;
      waiting.shift()().finally(() => {
        running -= 1;
        next();
      });
    }
  };
  return (act) =>
    new Promise((resolve, reject) => {
      waiting.push(() => Promise.resolve().then(act).then(resolve, reject));
      next();
    });
}
