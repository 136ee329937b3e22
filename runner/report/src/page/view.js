// What is shown, in the fragment of the address, so that a link leads to the same view.

const view = {
  values: new URLSearchParams(location.hash.slice(1)),
  /** Called with the keys that changed. */
  listeners: [],

  get(key, fallback = "") {
    return this.values.get(key) ?? fallback;
  },

  /** Takes changes of keys; null, or the value that is meant without any, leaves the address. */
  set(changes, { isStep = false } = {}) {
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") this.values.delete(key);
      else this.values.set(key, String(value));
    }
    const address = `#${this.values}`;
    if (isStep) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.tell(Object.keys(changes));
  },

  tell(keys) {
    for (const listener of this.listeners) listener(new Set(keys));
  },
};

const readAddress = () => {
  const before = view.values;
  view.values = new URLSearchParams(location.hash.slice(1));
  const keys = new Set([...before.keys(), ...view.values.keys()]);
  view.tell([...keys].filter((key) => before.get(key) !== view.values.get(key)));
  if (view.get("trial") === "" && view.get("at") !== "") document.getElementById(view.get("at"))?.scrollIntoView();
};
addEventListener("hashchange", readAddress);
addEventListener("popstate", readAddress);

/** A choice of some values, which the address remembers: `choice("split", "images", ["test"], "test")`. */
const choice = (key, label, values, fallback, names = values) => {
  const select = el("select", { id: `choice-${key}`, onchange: () => view.set({ [key]: select.value === fallback ? null : select.value }) });
  values.forEach((value, place) => select.append(el("option", { value }, names[place])));
  const show = () => (select.value = values.includes(view.get(key, fallback)) ? view.get(key, fallback) : fallback);
  show();
  view.listeners.push((keys) => keys.has(key) && show());
  return el("label", { class: "control" }, `${label} `, select);
};

/** A switch, which the address remembers. */
const toggle = (key, label, isOnAtFirst = false) => {
  const box = el("input", { type: "checkbox", id: `choice-${key}`, onchange: () => view.set({ [key]: box.checked === isOnAtFirst ? null : box.checked ? "1" : "0" }) });
  const show = () => (box.checked = isOn(key, isOnAtFirst));
  show();
  view.listeners.push((keys) => keys.has(key) && show());
  return el("label", { class: "control" }, box, ` ${label}`);
};

const isOn = (key, isOnAtFirst = false) => view.get(key, isOnAtFirst ? "1" : "0") === "1";

/** A value that was chosen, if it is one of those that there are. */
const chosen = (key, values, fallback) => (values.includes(view.get(key)) ? view.get(key) : fallback);
