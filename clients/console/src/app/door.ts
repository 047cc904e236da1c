import type { Connection, Link, Who } from "../net/connection.js";
import { h, mark, say, uid } from "../ui/dom.js";

/** Who a person is until they say otherwise. */
const NOBODY = "designer";

/** Where a person says who they are: a name in `dev` mode, a token in `jwt` mode. Nothing of it is stored. */
export class Door {
  readonly element: HTMLElement;
  readonly #connection: Connection;
  readonly #why = h("p", { class: "why", role: "alert" });
  readonly #name: HTMLInputElement;
  readonly #token: HTMLInputElement;
  readonly #named: HTMLElement;
  readonly #tokened: HTMLElement;
  readonly #swap: HTMLButtonElement;
  readonly #encoding: HTMLSelectElement;
  readonly #enter: HTMLButtonElement;
  #isToken = false;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#name = h("input", {
      id: uid("player"),
      type: "text",
      value: NOBODY,
      maxlength: "64",
      autocomplete: "off",
    });
    this.#token = h("input", {
      id: uid("token"),
      type: "password",
      autocomplete: "off",
      placeholder: "eyJhbGciOi…",
      spellcheck: "false",
    });
    const labelled = (label: string, input: HTMLInputElement, hint: string) =>
      h(
        "div",
        { class: "field" },
        h("label", { for: input.id }, label),
        input,
        h("p", { class: "hint" }, hint),
      );
    this.#named = labelled("Your name", this.#name, "The gateway takes any, as long as it runs in dev mode.");
    this.#tokened = labelled(
      "Token",
      this.#token,
      "A signed one. It stays in the memory of this tab and nowhere else.",
    );
    this.#swap = h("button", {
      type: "button",
      class: "bare link",
      on: { click: () => this.#choose(!this.#isToken) },
    });
    this.#encoding = h(
      "select",
      { id: uid("encoding") },
      h("option", { value: "msgpack" }, "MessagePack"),
      h("option", { value: "json" }, "JSON"),
    );
    this.#enter = h("button", { type: "submit", class: "primary" }, "Come in");
    this.element = h(
      "section",
      { class: "door", tabindex: "-1", "aria-label": "Connect" },
      h(
        "form",
        {
          on: {
            submit: (event) => {
              event.preventDefault();
              this.enter();
            },
          },
        },
        h("h1", {}, "npc-gateway"),
        this.#why,
        this.#named,
        this.#tokened,
        h("div", { class: "field" }, h("label", { for: this.#encoding.id }, "Frames as"), this.#encoding),
        h("div", { class: "row" }, this.#enter, this.#swap),
      ),
    );
    this.#choose(false);
    connection.link.on((link) => this.#follow(link));
  }

  /** Connects with what stands there. */
  enter(): void {
    const who = this.#who();
    if (!who) {
      say(this.#why, this.#isToken ? "Paste a token." : "Say who you are.");
      return;
    }
    say(this.#why, "");
    this.#connection.encoding = this.#encoding.value === "json" ? "json" : "msgpack";
    void this.#connection.open(who);
    // What was pasted need not stay on the page.
    this.#token.value = "";
  }

  #who(): Who | undefined {
    if (this.#isToken) {
      const token = this.#token.value.trim();
      return token === "" ? undefined : { token };
    }
    const player = this.#name.value.trim();
    return player === "" ? undefined : { player };
  }

  #choose(isToken: boolean): void {
    this.#isToken = isToken;
    this.#named.hidden = isToken;
    this.#tokened.hidden = !isToken;
    say(this.#swap, isToken ? "I have a name only" : "I have a token");
  }

  #follow(link: Link): void {
    mark(this.#enter, "disabled", link.state === "connecting" ? "" : undefined);
    if (link.state !== "closed") return;
    // The first thing that is tried is a name: a gateway that wants tokens says no to it.
    if (link.token && !this.#isToken) {
      this.#choose(true);
      say(this.#why, "This gateway wants a signed token.");
    } else {
      say(this.#why, link.token ? "The gateway does not take this token." : link.why);
    }
    (this.#isToken ? this.#token : this.#name).focus();
  }
}
