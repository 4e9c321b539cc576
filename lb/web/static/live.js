// Keeps a page up to date: told by the stream that something changed, it gets the page again and shows what is new.
// Pages are whole without it. Nobody is disturbed in a form, in a selection, or behind another tab.
(() => {
  "use strict";
  const main = document.querySelector("main[data-live]");
  if (!main || !window.EventSource || !window.DOMParser) return;

  const PAUSE = 1000; // milliseconds from a change to its sight: many changes together are one
  const SHARE = 10; // pages that take long are got less often: so many times as long lies between them
  const FOCUSABLE = "a[href], button, summary, input, select, [tabindex]";
  let stream = null;
  let place = "";
  let pause = PAUSE;
  let timer = 0;
  let wanted = false;
  let busy = false;

  const note = document.createElement("p");
  note.className = "live";
  note.setAttribute("role", "status");
  note.textContent = "Connecting …";
  main.before(note);

  const all = (selector) => [...main.querySelectorAll(selector)];

  function disturbing() {
    const inForm = document.activeElement && main.contains(document.activeElement) && document.activeElement.closest("form");
    const selection = window.getSelection();
    return document.hidden || Boolean(inForm) || Boolean(selection && !selection.isCollapsed);
  }

  function show(page) {
    const open = all("details").map((each) => each.open);
    const focused = all(FOCUSABLE).indexOf(document.activeElement);
    main.replaceChildren(...document.adoptNode(page.querySelector("main")).childNodes);
    all("details").forEach((each, number) => { each.open = number < open.length ? open[number] : each.open; });
    const again = focused < 0 ? undefined : all(FOCUSABLE)[focused];
    if (again) again.focus({ preventScroll: true });
    document.title = page.title;
  }

  async function refresh() {
    timer = 0;
    if (busy || !wanted || disturbing()) return;
    busy = true;
    wanted = false;
    const began = performance.now();
    try {
      const response = await fetch(location.href, { cache: "no-store" });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (response.ok && page.querySelector("main")) {
        show(page);
        note.textContent = `Live · updated ${new Date().toLocaleTimeString()}`;
      }
    } catch {
      wanted = true; // the next change, or the next look at the page, tries again
    } finally {
      pause = Math.max(PAUSE, SHARE * (performance.now() - began));
      busy = false;
    }
    if (wanted) soon();
  }

  function soon() {
    if (!timer) timer = setTimeout(refresh, pause);
  }

  function changed() {
    wanted = true;
    soon();
  }

  // A browser has few connections to one server: pages behind other tabs give theirs back.
  function follow() {
    if (document.hidden) {
      if (stream) stream.close();
      stream = null;
      return;
    }
    if (stream) return;
    const url = new URL(main.dataset.live, location.href);
    if (place) url.searchParams.set("after", place);
    stream = new EventSource(url);
    const heard = (event) => { place = event.lastEventId; };
    for (const kind of ["begin", "reset", "job", "gone"]) stream.addEventListener(kind, heard);
    for (const kind of ["reset", "job", "gone"]) stream.addEventListener(kind, changed);
    stream.addEventListener("begin", () => { note.textContent = "Live"; });
    stream.addEventListener("error", () => {
      const over = stream && stream.readyState === EventSource.CLOSED;
      note.textContent = over ? "Not live: reload to see changes" : "Connecting again …";
    });
  }

  for (const kind of ["visibilitychange", "focusout", "selectionchange"]) {
    document.addEventListener(kind, () => { if (wanted) soon(); });
  }
  document.addEventListener("visibilitychange", follow);
  follow();
})();
