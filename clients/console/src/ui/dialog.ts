import { h, uid } from "./dom.js";
import { icon } from "./icons.js";

/** A dialog of the browser's own: it keeps the focus, and Escape closes it. */
export function openDialog(title: string, body: HTMLElement, closed: () => void = () => {}): HTMLDialogElement {
  const id = uid("dialog");
  const dialog: HTMLDialogElement = h(
    "dialog",
    {
      "aria-labelledby": id,
      on: {
        close: () => {
          dialog.remove();
          closed();
        },
        click: (event) => {
          // On the backdrop.
          if (event.target === dialog) dialog.close();
        },
      },
    },
    h(
      "div",
      { class: "dialog" },
      h(
        "header",
        {},
        h("h2", { id }, title),
        h(
          "button",
          { type: "button", class: "bare", "aria-label": "Close", on: { click: () => dialog.close() } },
          icon("close"),
        ),
      ),
      body,
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
