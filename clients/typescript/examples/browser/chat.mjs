// A chat in a page. The address may have `?url=ws://127.0.0.1:7777&player=mina&npc=carmilla&archetype=vampire`.
import { connect } from "npc-gateway-client";

const query = new URLSearchParams(location.search);
const asked = (/** @type {string} */ name, /** @type {string} */ otherwise) => query.get(name) ?? otherwise;
const element = (/** @type {string} */ selector) =>
  /** @type {HTMLElement} */ (document.querySelector(selector));

const [state, talk] = [element("#state"), element("#talk")];
const form = /** @type {HTMLFormElement} */ (element("form"));
const line = /** @type {HTMLInputElement} */ (element("input"));

/** Adds a line to the talk. */
function show(/** @type {string} */ text) {
  const item = talk.appendChild(document.createElement("li"));
  item.textContent = text;
  return item;
}

/**
 * The words appear as they come.
 *
 * @param {import("npc-gateway-client").Npc} npc
 * @param {string} text
 */
async function say(npc, text) {
  show(`${asked("player", "player")}: ${text}`);
  const item = show(`${npc.info.npc.name}: `);
  const turn = npc.say(text);
  try {
    for await (const delta of turn) item.append(delta.text);
    item.dataset["reason"] = (await turn.done).reason;
  } catch (error) {
    item.append(`[${error}]`);
    item.dataset["reason"] = "error";
  }
}

async function start() {
  const session = await connect({
    url: asked("url", "ws://127.0.0.1:7777"),
    token: asked("player", "player"),
  });
  session.on("state", (change) => {
    state.textContent = change.state;
  });
  const npc = await session.join({
    npc: asked("npc", "carmilla"),
    archetype: asked("archetype", "vampire"),
  });
  state.textContent = session.state;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void say(npc, line.value);
    form.reset();
  });
  for (const control of form.querySelectorAll("input, button")) control.removeAttribute("disabled");
}

start().catch((error) => {
  state.textContent = String(error);
});
