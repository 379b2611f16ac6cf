// The recorder and the players alone on a page, and what a test wants to know of them.

import { createPlayer, createStreamPlayer } from "/static/player.js";
import { createRecorder } from "/static/recorder.js";
import strings from "/static/strings.sound.js";

const given = new URLSearchParams(location.search);
const lang = given.get("lang") ?? "en";
document.documentElement.lang = lang;
document.documentElement.dir = lang === "ar" ? "rtl" : "ltr";

function t(key, given = {}) {
  return strings[lang][key].replace(/\{(\w+)\}/g, (_, name) => given[name]);
}

function say(text) {
  document.querySelector("#said").textContent = text;
  bench.said.push(text);
}

const bench = {
  strings,
  said: [],
  states: [],
  sent: [],
  refuse: 0, // how many of the next sends fail
  events: [],
  streams: [], // the microphone's
  answer: null, // a promise that a test keeps
  players: [],
  loads: 0,

  /** With `isHasty` it is stopped as soon as it records. */
  recorder(settings = {}) {
    const host = document.querySelector("#recorder");
    bench.rec = createRecorder(host, {
      t,
      settings,
      longestS: settings.longestS,
      announce: say,
      onState(state) {
        bench.states.push(state);
        if (settings.isHasty && state === "recording") queueMicrotask(() => host.querySelector(".rec-button").click());
      },
      async onSend(blob, info) {
        if (bench.refuse > 0) {
          bench.refuse -= 1;
          throw new Error("it was refused");
        }
        bench.sent.push({ blob, ...info });
      },
    });
  },

  player(path, options = {}) {
    const player = createPlayer({
      async load(signal) {
        bench.loads += 1;
        const answer = await fetch(path, { signal });
        if (!answer.ok) throw new Error(`answered with ${answer.status}`);
        return answer.blob();
      },
      t,
      lang,
      ...options,
    });
    bench.players.push(player);
    document.querySelector("#players").append(player.element);
  },

  stream(path) {
    const player = createStreamPlayer({
      open: (signal) => fetch(path, { signal }),
      t,
      onFirstSound: () => bench.events.push("sound"),
      onEnded: ({ stopped }) => bench.events.push(stopped ? "stopped" : "ended"),
      onError: (error) => bench.events.push(`error: ${error.name}`),
    });
    bench.streamed = player;
    document.querySelector("#players").append(player.element);
  },

  /** The sound that was sent, in base64. */
  async bytes(index = 0) {
    const bytes = new Uint8Array(await bench.sent[index].blob.arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  },

  /** How many tracks of microphones are open. */
  open() {
    return bench.streams.flatMap((stream) => stream.getTracks()).filter((track) => track.readyState === "live").length;
  },
};
globalThis.bench = bench;

// What was opened is kept, to see that it is let go.
const devices = navigator.mediaDevices;
if (devices) {
  const getUserMedia = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wishes) => {
    await bench.answer; // to the question whether the page may listen
    const stream = await getUserMedia(wishes);
    bench.streams.push(stream);
    return stream;
  };
}

if (given.has("stream")) {
  bench.stream(given.get("stream"));
  const { element } = bench.streamed; // whatever a test asks of the page counts as a gesture: this is told unasked
  new MutationObserver(() => console.info(`it is ${element.dataset.state}`)).observe(element, { attributes: true });
  bench.streamed.start();
}
document.documentElement.dataset.ready = "";
