// Search from a disk: browsers refuse workers in file: pages, so the script of the worker runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = Object.assign(document.createElement("iframe"), { hidden: true });
      document.documentElement.append(this.frame);
      const inner = this.frame.contentWindow;
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inner.importScripts = () => { throw new Error("only English is indexed"); };
      const script = inner.document.createElement("script");
      script.src = url;
      script.onload = () => { this.ready = true; this.waiting.splice(0).forEach((data) => this.postMessage(data)); };
      inner.document.documentElement.append(script);
    }

    postMessage(data) {
      if (!this.ready) this.waiting.push(data);
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() { this.frame.remove(); }
  };
}
