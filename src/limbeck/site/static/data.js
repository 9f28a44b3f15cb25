// The data of the site: classic scripts that call `limbeck.site.data(name, value)`, loaded when they are needed.
// Scripts also load from file://, where fetch does not; in a single file all of them are there from the start.
(function (site) {
  "use strict";
  const loaded = new Map(), waiting = new Map();

  // Called by each data script.
  function data(name, value) {
    loaded.set(name, value);
  }

  // Returns a promise of the value of a data script; it fails where the script cannot be loaded.
  function load(name) {
    if (loaded.has(name)) return Promise.resolve(loaded.get(name));
    if (!waiting.has(name))
      waiting.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const fail = () => {
          waiting.delete(name);
          script.remove();
          reject(new site.LoadError(`data/${name}.js cannot be loaded; try again, or copy the whole folder`));
        };
        script.onload = () => {
          script.remove();
          if (loaded.has(name)) resolve(loaded.get(name));
          else fail();
        };
        script.onerror = fail;
        script.src = `data/${name}.js`;
        document.head.append(script);
      }));
    return waiting.get(name);
  }

  // Base64 to bytes.
  function bytes(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }

  class LoadError extends Error {}

  Object.assign(site, { data, load, bytes, loaded, LoadError });
})(((globalThis.limbeck ??= {}).site ??= {}));
