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

  const UNITS = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

  function ago(seconds) {
    const [unit, length] = UNITS.find(([, each]) => Math.abs(seconds) >= each) || UNITS.at(-1);
    return words.format(-Math.trunc(seconds / length), unit);
  }

  // Times stand in UTC; how long ago that is stands beside the facts, and with the time here in the hint of each.
  function age() {
    for (const time of main.querySelectorAll("time")) {
      const then = new Date(time.dateTime);
      if (Number.isNaN(then.getTime())) continue;
      const since = ago((Date.now() - then) / 1000);
      time.title = `${since} (${then.toLocaleString()})`;
      const fact = time.closest(".facts dd");
      if (!fact) continue;
      const beside = fact.querySelector(".ago") || fact.appendChild(document.createElement("span"));
      beside.className = "ago";
      beside.textContent = ` · ${since}`;
    }
  }

  function copyable() {
    const id = main.querySelector("h1 .id");
    if (!id || !navigator.clipboard) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the job id");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(id.textContent).catch(() => {});
      button.textContent = "Copied";
    });
    id.parentNode.after(button);
  }

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
    copyable();
    const again = focused < 0 ? undefined : all(FOCUSABLE)[focused];
    if (again) again.focus({ preventScroll: true });
    document.title = page.title;
    age();
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
      // That there is no such job any more, or none at all, is news too.
      if (response.status < 500 && page.querySelector("main")) {
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
  copyable();
  age();
  setInterval(age, 30000);
  follow();
})();
