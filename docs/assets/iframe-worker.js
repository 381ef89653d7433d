// The search of the site runs in a worker, which browsers refuse to pages opened as files: there it runs in a hidden frame.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      frame.setAttribute("aria-hidden", "true")
      document.body.appendChild(frame)
      this.frame = frame
      const page = frame.contentDocument
      page.open()
      page.write(`<script>postMessage = data => parent.postMessage(data, "*")<\/script><script src="${url}"><\/script>`)
      page.close()
      this.ready = new Promise(resolve => { frame.onload = resolve })
      addEventListener("message", event => {
        if (event.source !== frame.contentWindow) return
        event.stopImmediatePropagation()
        this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() { this.frame.remove() }
  }
  window.Worker = window.IFrameWorker
}
