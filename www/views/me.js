// My own presence: what others see, at the sidebar's foot, and the menu to change it.

import { avatar, pictureAvatar, renameAvatar } from "../lib/avatar.js";
import { el, hiddenText, icon, iconButton, setText } from "../lib/dom.js";
import { localpart } from "../lib/format.js";
import { CHOICES, hintOf, labelOf, presenceMark, setPresenceMark } from "../lib/presence.js";
import { roving } from "../lib/roving.js";
import { currentTheme, setTheme } from "../lib/theme.js";
import { orToast, toast } from "../lib/toast.js";
import { openPrivacy } from "./privacy-dialog.js";
import { openProfile, openSignOut } from "./my-dialogs.js";

/** @typedef {import("../lib/presence.js").PresenceState} PresenceState */

/** @param {import("./shell.js").Context} context */
export function createMe(context) {
  const { client, people } = context;
  const mark = presenceMark("unknown");
  const name = el("strong.me-name", { testid: "my-name", dir: "auto" });
  const words = el("span");
  const said = el("bdi");
  const line = el("span.me-line", { testid: "my-line" }, words, said);
  const picture = avatar(people.myId, localpart(people.myId), "round", mark);
  const button = el(
    "button.me",
    { type: "button", testid: "my-presence", "aria-haspopup": "dialog", "aria-expanded": "false", popovertarget: "my-menu" },
    picture,
    el("span.me-text", {}, name, line),
    hiddenText("Change my presence"),
    icon("chevron"),
  );
  const menu = createMenu(context);
  menu.node.addEventListener("toggle", (event) => {
    button.setAttribute("aria-expanded", String(/** @type {ToggleEvent} */ (event).newState === "open"));
  });

  const update = () => {
    const { me } = people;
    const shown = people.myState();
    const called = people.name(people.myId);
    setPresenceMark(mark, shown);
    button.dataset.state = shown;
    setText(name, called);
    setText(words, shown === "unknown" ? whileAway(me.state) : labelOf(shown));
    setText(said, me.statusMsg ? ` · ${me.statusMsg}` : "");
    line.title = line.textContent ?? "";
    renameAvatar(picture, called);
    pictureAvatar(picture, me.avatarUrl);
    menu.update();
  };
  const stops = [client.on("me", update), client.on("idle", update), context.contacts.subscribe(update)];
  update();

  return {
    node: el("footer.sidebar-foot", {}, button, menu.node),
    dispose() {
      for (const stop of stops) stop();
    },
  };
}

/** While nobody tells what others see, what was chosen is all that is known. @param {PresenceState} chosen */
function whileAway(chosen) {
  return chosen === "online" ? "Not connected" : `${labelOf(chosen)} · not connected`;
}

/** @param {import("./shell.js").Context} context */
function createMenu(context) {
  const { client, people } = context;
  const options = new Map(CHOICES.map((state) => [state, createOption(state, () => choose(state))]));
  const group = el("div.states", { role: "radiogroup", "aria-label": "My state" }, ...options.values());
  const refreshRoving = roving(group, ".state");
  const message = createMessageField((text) => set(people.me.state, text));

  /** Does not wait for the server: what is chosen while it is away is told when it is back. @param {Exclude<PresenceState, "unknown">} state */
  function choose(state) {
    node.hidePopover();
    set(state);
  }

  /** @param {Exclude<PresenceState, "unknown">} state @param {string | null} [text] */
  function set(state, text) {
    if (client.connection !== "online") toast("Kept: others see it when the server is back.");
    void orToast(() => client.setPresence(state, text));
  }

  const privacy = menuItem("shield", "Privacy", "open-privacy", () => openPrivacy(context));

  const node = el(
    "div.menu",
    { id: "my-menu", popover: "auto", role: "dialog", "aria-label": "My presence and settings", testid: "my-menu" },
    message.node,
    group,
    el("hr"),
    createThemeChoice(),
    el("hr"),
    privacy,
    menuItem("pencil", "Profile and settings", "open-profile", () => openProfile(context)),
    menuItem("leave", "Sign out", "sign-out", () => openSignOut(context)),
  );
  node.addEventListener("click", (event) => {
    if (/** @type {HTMLElement} */ (event.target).closest(".menu-item")) node.hidePopover();
  });

  return {
    node,
    update() {
      for (const [state, option] of options) option.setAttribute("aria-checked", String(state === people.me.state));
      privacy.hidden = !context.contacts.supported;
      message.show(people.me.statusMsg ?? "");
      refreshRoving();
    },
  };
}

/** @param {PresenceState} state @param {() => void} onclick */
function createOption(state, onclick) {
  return el(
    "button.state",
    { type: "button", role: "radio", "aria-checked": "false", tabindex: "-1", testid: `presence-option-${state}`, onclick },
    presenceMark(state),
    el("span.state-text", {}, labelOf(state), el("span.hint", {}, hintOf(state))),
    icon("check"),
  );
}

/** @param {(text: string | null) => void} save */
function createMessageField(save) {
  const input = el("input", {
    type: "text", dir: "auto", testid: "status-message", placeholder: "What are you up to?", "aria-label": "Status message", maxlength: "200",
    autocomplete: "off", enterkeyhint: "done",
  });
  const submit = iconButton("check", "Save status message", { type: "submit", testid: "status-message-save" });
  const clear = iconButton("close", "Clear status message", { testid: "status-message-clear", onclick: () => store(null) });
  const node = el("form.message-field", {}, input, submit, clear);
  let saved = "";

  const offer = () => {
    submit.hidden = input.value.trim() === saved;
    clear.hidden = saved === "";
  };

  /** @param {string | null} text */
  const store = (text) => {
    save(text);
    show(text ?? "", true);
  };

  /** @param {string} text @param {boolean} [force] also over what is being typed */
  const show = (text, force = false) => {
    const untouched = input.value.trim() === saved;
    saved = text;
    if (force || untouched) input.value = text;
    offer();
  };

  input.addEventListener("input", offer);
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    store(input.value.trim() || null);
  });
  offer();
  return { node, show };
}

function createThemeChoice() {
  const choices = /** @type {const} */ ([["system", "System"], ["light", "Light"], ["dark", "Dark"]]);
  const icons = { system: "system", light: "sun", dark: "moon" };
  const buttons = choices.map(([theme, label]) =>
    el(
      "button",
      { type: "button", testid: `theme-${theme}`, "aria-pressed": String(theme === currentTheme()), onclick: () => choose(theme) },
      icon(icons[theme]),
      label,
    ));
  /** @param {import("../lib/theme.js").Theme} theme */
  const choose = (theme) => {
    setTheme(theme);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.testid === `theme-${theme}`));
  };
  return el("div.segmented.small", { role: "group", "aria-label": "Colour theme" }, ...buttons);
}

/** @param {string} name @param {string} label @param {string} testid @param {() => void} onclick */
function menuItem(name, label, testid, onclick) {
  return el("button.menu-item", { type: "button", testid, onclick }, icon(name), label);
}
