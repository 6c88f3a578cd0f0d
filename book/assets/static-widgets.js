/* Starts the stored figures of a page that has no kernel.
 *
 * A notebook stores each widget as a "view" (which model stands here) and a "state" (all models
 * with their values). For Jupyter, a widget manager and a server bring these to life; this script
 * does it for anywidget models alone, whose code is part of their state. It is a classic script
 * and loads nothing, so that pages work from file:// too.
 */
(() => {
  "use strict";

  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';
  const REFERENCE = "IPY_MODEL_";

  /** The half of Jupyter's model interface that a figure can use when nobody listens. */
  class Model {
    #values;
    #listeners = [];
    #page;

    constructor(values, page) {
      this.#values = values;
      this.#page = page;
    }

    get(name) {
      return this.#values[name];
    }

    set(name, value) {
      const changes = typeof name === "object" ? name : { [name]: value };
      const changed = Object.keys(changes).filter((key) => this.#values[key] !== changes[key]);
      Object.assign(this.#values, changes);
      for (const key of changed) this.#emit(`change:${key}`, changes[key]);
      if (changed.length) this.#emit("change");
    }

    // Several names in one string, separated by spaces, as Backbone takes them.
    on(names, listener) {
      for (const name of names.split(" ")) this.#listeners.push({ name, listener });
    }

    off(names, listener) {
      const gone = names?.split(" ");
      this.#listeners = this.#listeners.filter(
        (l) => (gone && !gone.includes(l.name)) || (listener && l.listener !== listener),
      );
    }

    save_changes() {} // no kernel to tell
    send() {}

    get widget_manager() {
      return { get_model: (id) => this.#page.model(id.replace(REFERENCE, "")) };
    }

    #emit(name, value) {
      for (const l of [...this.#listeners]) if (l.name === name) l.listener(this, value);
    }
  }

  /** All stored models of the page, each started once however many views it has. */
  class Page {
    #stored = {};
    #models = new Map();
    #modules = new Map();

    constructor() {
      for (const tag of document.querySelectorAll(STATE)) {
        Object.assign(this.#stored, JSON.parse(tag.textContent).state);
      }
    }

    stored(id) {
      return this.#stored[id];
    }

    /** Whether a stored widget, or anything inside it, is of this kind. */
    contains(id, kind, seen = new Set()) {
      const entry = this.#stored[id];
      if (!entry || seen.has(id)) return false;
      seen.add(id);
      const inside = (entry.state.children ?? []).map((c) => String(c).replace(REFERENCE, ""));
      return entry.model_name === kind || inside.some((c) => this.contains(c, kind, seen));
    }

    model(id) {
      if (!this.#models.has(id)) this.#models.set(id, this.#start(id));
      return this.#models.get(id);
    }

    async #start(id) {
      const entry = this.#stored[id];
      if (!entry) throw new Error(`its state is not stored on this page (model ${id})`);
      const model = new Model(withBuffers(entry), this);
      if (entry.model_name === "AnyModel") {
        model.widget = await this.#module(entry.state._esm);
        addStyles(entry.state._css);
        await model.widget.initialize?.({ model });
      }
      return model;
    }

    #module(source) {
      if (!this.#modules.has(source)) this.#modules.set(source, load(source));
      return this.#modules.get(source);
    }
  }

  async function load(source) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const widget = (await import(url)).default;
    return typeof widget === "function" ? widget() : widget;
  }

  const styles = new Set();
  function addStyles(text) {
    if (!text || styles.has(text)) return;
    styles.add(text);
    const style = document.createElement("style");
    style.textContent = text;
    document.head.append(style);
  }

  function withBuffers(entry) {
    const state = structuredClone(entry.state);
    for (const { path, data } of entry.buffers ?? []) {
      const holder = path.slice(0, -1).reduce((value, key) => value[key], state);
      holder[path.at(-1)] = fromBase64(data);
    }
    return state;
  }

  function fromBase64(text) {
    return new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  }

  async function show(tag, page) {
    const place = document.createElement("div");
    place.className = "static-widget";
    tag.before(place);
    try {
      const id = JSON.parse(tag.textContent).model_id;
      const entry = page.stored(id);
      if (entry && entry.model_name !== "AnyModel") {
        // A stored progress bar has nothing left to say.
        if (page.contains(id, "FloatProgressModel")) return;
        return say(place, "note", "This control needs Python: open the chapter in Jupyter or in Colab to use it.");
      }
      const model = await page.model(id);
      await model.widget.render?.({ model, el: place });
    } catch (error) {
      console.error(error);
      place.replaceChildren();
      say(place, "alert", `This interactive figure could not start: ${error.message}`);
    }
  }

  function say(place, role, text) {
    const message = document.createElement("p");
    message.className = "static-widget-message";
    message.setAttribute("role", role);
    message.style.cssText = "border-left: 3px solid currentColor; padding: 0.4em 0.8em; opacity: 0.85";
    message.textContent = text;
    place.append(message);
  }

  function start() {
    const tags = [...document.querySelectorAll(VIEW)];
    if (!tags.length) return;
    try {
      const page = new Page();
      for (const tag of tags) show(tag, page);
    } catch (error) {
      console.error(error);
      for (const tag of tags) {
        const place = document.createElement("div");
        tag.before(place);
        say(place, "alert", `This interactive figure could not start: its stored state is damaged (${error.message})`);
      }
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
