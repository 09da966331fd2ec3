// My address, for others to find me by.

import { el, icon } from "../lib/dom.js";
import { orToast, toast } from "../lib/toast.js";

/** @param {import("./shell.js").Context} context */
export function myAddress({ people }) {
  const copy = async () => {
    if (await orToast(() => navigator.clipboard.writeText(people.myId))) toast("Copied. Send it to somebody.");
  };
  return el(
    "p.my-address",
    {},
    "Others find you as ",
    el("code", {}, people.myId),
    " ",
    el("button.link", { type: "button", testid: "copy-address", onclick: copy }, icon("copy"), "Copy"),
  );
}
