// Headless Chromium and a person at the web client in it.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { until } from "./matrix.mjs";
import { root, serverName } from "./paths.mjs";

const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--no-first-run",
];
const artefacts = join(root, "artefacts");

export function launch(...more) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...ARGUMENTS, ...more] });
}

/** In a page: notes which events are pointed out. */
function noteFlashes() {
  window.flashes = [];
  const note = (records) => {
    for (const { target, oldValue } of records) {
      if (target.classList.contains("flash") && !oldValue?.split(" ").includes("flash")) window.flashes.push(target.dataset.eventId);
    }
  };
  new MutationObserver(note).observe(document, { subtree: true, attributeFilter: ["class"], attributeOldValue: true });
}

/** One person with a browser profile of their own and the web client open in it. */
export class Person {
  /**
   * Opens the client with a clock that tests can drive; `problems` collects what the page complains of.
   * `server` is the homeserver's name, when it is not the usual one.
   */
  static async arrive(browser, baseUrl, name, { server = serverName, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(20_000);
    const person = new Person(context, baseUrl, name, server);
    await person.open();
    return person;
  }

  constructor(context, baseUrl, name, server) {
    Object.assign(this, { context, baseUrl, name, userId: `@${name}:${server}`, problems: [], requests: [] });
  }

  /** A new tab of the same browser profile. */
  async open() {
    this.page = await this.context.newPage();
    this.page.on("pageerror", (error) => this.problems.push(String(error)));
    this.page.on("console", (message) => message.type() === "error" && this.problems.push(`${message.text()} ${message.location().url}`));
    this.page.on("request", (request) => this.requests.push(request));
    await this.page.addInitScript(noteFlashes);
    await this.page.clock.install();
    await this.page.goto(this.baseUrl);
  }

  by(testId) {
    return this.page.getByTestId(testId);
  }

  /** Waits until an event is pointed out, or was since the last one that was waited for: it lasts too short a time to be looked for. */
  async flashed(eventId) {
    await this.page.waitForFunction((id) => {
      const at = window.flashes.indexOf(id);
      return at >= 0 && window.flashes.splice(0, at + 1);
    }, eventId);
    await this.page.locator(`[data-testid=timeline-item][data-event-id="${eventId}"]`).waitFor();
  }

  /** Makes an account, on the server that the page came from unless another is named. */
  async register(homeserver) {
    await this.by("mode-register").click();
    if (homeserver) {
      await this.by("login-server-edit").click();
      await this.by("login-server").fill(homeserver);
    }
    await this.by("login-user").fill(this.name);
    await this.by("login-password").fill("correct horse battery");
    await this.by("login-password-again").fill("correct horse battery");
    await this.by("register-submit").click();
    await this.by("my-presence").waitFor();
  }

  async createRoom(name, alias) {
    await this.by("create-room").click();
    await this.by("create-room-name").fill(name);
    await this.by("create-room-public").check();
    await this.by("create-room-alias").fill(alias);
    await this.by("create-room-submit").click();
    await this.by("room-name").getByText(name).waitFor();
  }

  async joinRoom(alias, name) {
    await this.by("join-room").click();
    await this.by("join-room-address").fill(alias);
    await this.by("join-room-submit").click();
    await this.by("room-name").getByText(name).waitFor();
  }

  async say(text) {
    await this.by("composer").fill(text);
    await this.by("composer").press("Enter");
  }

  /** The timeline's items with exactly this text. */
  message(text) {
    return this.by("timeline-item").filter({ has: this.page.getByText(text, { exact: true }) });
  }

  /** Another person in the list of the room's people. */
  person(other) {
    return this.page.locator(`[data-testid=user-item][data-user-id="${other.userId}"]`);
  }

  /** Waits until this person sees another in a state. */
  sees(other, state, timeout = 20_000) {
    return this.page.locator(`[data-testid=user-item][data-user-id="${other.userId}"][data-state="${state}"]`).waitFor({ timeout });
  }

  /** Another person on the list of contacts, in one of its sections (`list`, `group-…`) or in any. */
  contact(other, section) {
    const within = section === undefined ? "" : `[data-section="${section}"] `;
    return this.page.locator(`${within}[data-testid=contact-item][data-user-id="${other.userId}"]`);
  }

  /** Waits until this person's list shows another in a state. */
  async findsContact(other, state, timeout = 20_000) {
    await this.contact(other).and(this.page.locator(`[data-state="${state}"]`)).first().waitFor({ timeout });
  }

  /** Comes back to the page, which is when it asks for what is new, until it shows `locator`. */
  async looksFor(locator) {
    await until(`${this.name} finds ${locator}`, async () => {
      await this.page.evaluate(() => dispatchEvent(new Event("focus")));
      return locator.first().waitFor({ timeout: 500 }).then(() => true, () => false);
    });
  }

  /** Waits until the page has found its server again; the pauses between its attempts are cut short. */
  async reconnects() {
    const connection = this.by("connection");
    await until(`${this.name} is connected`, async () => {
      if ((await connection.getAttribute("data-connection")) === "online") return true;
      await this.page.clock.fastForward(5000);
      await new Promise((resolve) => setTimeout(resolve, 300));
      return false;
    }, 40_000);
  }

  /** Chooses a state in the menu. */
  async choosePresence(state) {
    await this.by("my-presence").click();
    await this.by(`presence-option-${state}`).click();
  }

  /** Collects every value that an attribute of one element takes from here on. */
  async watch(locator, attribute) {
    const handle = await locator.elementHandle();
    await handle.evaluate((node, name) => {
      node.watched = [node.getAttribute(name)];
      new MutationObserver(() => node.watched.push(node.getAttribute(name))).observe(node, { attributeFilter: [name] });
    }, attribute);
    return () => handle.evaluate((node) => node.watched.filter((value, i, all) => value !== all[i - 1]));
  }

  /** The requests so far that report presence: this device's idleness, or the user's choice. */
  presenceReports() {
    return this.requests.filter((request) => request.method() === "PUT" && /\/presence\//.test(request.url()));
  }

  async screenshot(name) {
    mkdirSync(artefacts, { recursive: true });
    await this.page.screenshot({ path: join(artefacts, `${name}.png`) });
  }
}

/**
 * A gate for a page's requests. While it is shut, what `pattern` matches is held: before the server has it
 * (`request`), or its answer before the page has it (`answer`), there only answers that have `text` in them.
 */
export async function hold(page, pattern, where, text = "") {
  let open;
  const gate = new Promise((resolve) => (open = resolve));
  await page.route(pattern, async (route) => {
    try {
      if (where === "request") await gate;
      const response = await route.fetch({ timeout: 0 });
      if (where === "answer" && (await response.text()).includes(text)) await gate;
      await route.fulfill({ response });
    } catch {
      await route.abort().catch(() => {}); // the page is gone, or the server
    }
  });
  return { open, remove: () => page.unroute(pattern) };
}
