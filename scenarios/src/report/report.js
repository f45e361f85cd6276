"use strict";
// Draws the embedded data; the time window, the filter and the selected event are all its state.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const chart = document.getElementById("chart");
  const filter = document.getElementById("filter");
  const end = Math.max(data.virtualMillis, 1);
  const view = { from: 0, to: end, text: "", selected: -1, rows: 400, lanes: 60 };
  const LEAST = 1000;
  const events = [
    ...data.timeline.map((it) => ({ at: it.at, kind: it.kind, text: it.text, why: it.why })),
    ...data.faults.map((it) => ({ at: it.at, kind: "fault", text: it.kind, why: it.about })),
  ].sort((a, b) => a.at - b.at);

  const stamp = (ms) => {
    const s = Math.floor(ms / 1000), tenth = Math.floor((ms % 1000) / 100);
    const two = (n) => String(n).padStart(2, "0");
    const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    return h ? `${h}:${two(m)}:${two(s % 60)}.${tenth}` : `${m}:${two(s % 60)}.${tenth}`;
  };
  const short = (ms) => {
    const s = Math.round(ms / 1000), d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24;
    const m = Math.floor(s / 60) % 60, r = s % 60;
    const parts = [[d, "d"], [h, "h"], [m, "m"], [r, "s"]].filter(([n]) => n);
    return parts.length ? parts.slice(0, 2).map(([n, u]) => n + u).join("") : "0";
  };
  const money = (micro) => `$${(micro / 1e6).toFixed(4)}/h`;
  const clip = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
  const has = (...texts) => !view.text || texts.join(" ").toLowerCase().includes(view.text);

  const NS = "http://www.w3.org/2000/svg";
  const make = (parent, name, attributes, text, title) => {
    const node = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (title) node.appendChild(document.createElementNS(NS, "title")).textContent = title;
    return parent.appendChild(node);
  };

  // Geometry: names stand left of the lanes on wide pages and above them on narrow ones.
  const geometry = () => {
    const width = Math.max(chart.clientWidth, 280);
    const narrow = width < 640;
    return { width, narrow, left: narrow ? 8 : 230, right: 12 };
  };
  let at = geometry();
  const x = (ms) => {
    const share = (Math.min(Math.max(ms, view.from), view.to) - view.from) / (view.to - view.from);
    return at.left + (at.width - at.left - at.right) * share;
  };
  const inside = (ms) => ms >= view.from && ms <= view.to;

  const tick = (span, count) => {
    const round = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200,
      86400, 172800, 604800, 2592000].map((s) => s * 1000);
    return round.find((r) => r >= span / count) || round[round.length - 1];
  };

  const heading = (svg, y, text, faint) => {
    make(svg, "text", { class: "heading", x: at.narrow ? at.left : 0, y }, text);
    if (faint) {
      const place = at.narrow ? { x: at.width - at.right, y, "text-anchor": "end" } : { x: 0, y: y + 17 };
      make(svg, "text", { class: "faint", ...place }, faint);
    }
  };

  const axis = (svg, top, bottom) => {
    const step = tick(view.to - view.from, at.narrow ? 4 : 9);
    for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
      make(svg, "line", { class: "tick", x1: x(t), x2: x(t), y1: top, y2: bottom });
      const anchor = x(t) > at.width - 40 ? "end" : x(t) < 30 ? "start" : "middle";
      make(svg, "text", { class: "faint", x: x(t), y: bottom + 16, "text-anchor": anchor },
        step < 1000 ? stamp(t) : short(t));
    }
    for (const it of events) {
      if (it.kind !== "step" || !inside(it.at)) continue;
      make(svg, "line", { class: "step", x1: x(it.at), x2: x(it.at), y1: top, y2: bottom }, undefined,
        `${stamp(it.at)} ${it.text}`);
    }
    const chosen = events[view.selected];
    if (chosen && inside(chosen.at)) {
      make(svg, "line", { class: "cursor", x1: x(chosen.at), x2: x(chosen.at), y1: top, y2: bottom });
    }
    const broken = data.failure && data.failure.at;
    if (typeof broken === "number" && inside(broken)) {
      make(svg, "line", { class: "broken", x1: x(broken), x2: x(broken), y1: top, y2: bottom }, undefined,
        `${stamp(broken)} ${data.failure.what}`);
    }
  };

  // One strip of marks: those that would lie on one another are one mark that says how many.
  const strip = (svg, y, name, marks) => {
    heading(svg, y + (at.narrow ? -9 : 4), name, undefined);
    make(svg, "line", { class: "base", x1: at.left, x2: at.width - at.right, y1: y, y2: y });
    const groups = new Map();
    for (const mark of marks) {
      if (!inside(mark.at) || !has(mark.text, mark.why, mark.kind)) continue;
      const key = `${Math.round(x(mark.at) / 7)} ${mark.shape}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(mark);
    }
    for (const group of groups.values()) {
      const mark = group[0], size = 4 + Math.min(Math.log2(group.length), 4);
      const lines = group.slice(0, 12).map((it) => `${stamp(it.at)} ${it.text} ${it.why}`);
      if (group.length > 12) lines.push(`and ${group.length - 12} more`);
      const node = make(svg, "circle", { class: `mark ${mark.shape}`, cx: x(mark.at), cy: y, r: size },
        undefined, lines.join("\n"));
      node.addEventListener("click", () => select(events.indexOf(mark.event || mark), false));
    }
  };

  const cost = (svg, top, height) => {
    const peak = Math.max(1, ...data.cost.map((it) => it.perHour));
    const y = (v) => top + height * (1 - v / peak);
    heading(svg, top + (at.narrow ? -8 : 12), "Cost per hour", `peak ${money(peak === 1 ? 0 : peak)}`);
    let value = 0;
    for (const it of data.cost) if (it.at <= view.from) value = it.perHour;
    let path = `M ${x(view.from)} ${top + height} L ${x(view.from)} ${y(value)}`;
    for (const it of data.cost) {
      if (it.at <= view.from || it.at > view.to) continue;
      path += ` L ${x(it.at)} ${y(value)} L ${x(it.at)} ${y(it.perHour)}`;
      value = it.perHour;
    }
    path += ` L ${x(view.to)} ${y(value)} L ${x(view.to)} ${top + height} Z`;
    make(svg, "path", { class: "cost", d: path });
    for (const it of data.cost) {
      if (!inside(it.at)) continue;
      make(svg, "circle", { class: "dot", cx: x(it.at), cy: y(it.perHour), r: 3 }, undefined,
        `${stamp(it.at)} ${money(it.perHour)}, ${it.machines} machines`);
    }
  };

  const slots = (lane, until) => {
    const free = [];
    return [lane.pods.map((pod) => {
      let slot = free.findIndex((busy) => busy <= pod.bound);
      if (slot < 0) slot = free.push(0) - 1;
      free[slot] = pod.gone ?? until;
      return slot;
    }), Math.max(free.length, 1)];
  };

  const LANE = { wide: 46, narrow: 58, bar: 34 };
  const lane = (svg, it, top) => {
    const until = it.gone ?? end, group = make(svg, "g", { class: "lane" });
    const y = top + (at.narrow ? 18 : 0);
    make(group, "title", {}, `${it.name}\n${it.size} ${it.capacity} in ${it.zone}, ${money(it.price)}\n` +
      `${stamp(it.requested)} to ${it.gone === null ? "the end" : stamp(it.gone)}\n${it.why}${it.end ? "\n" + it.end : ""}`);
    const label = `${it.size.replace("Standard_", "")} · ${it.capacity} · ${money(it.price)}`;
    if (at.narrow) {
      make(group, "text", { class: "name", x: at.left, y: top + 12 }, clip(it.name, 26));
      make(group, "text", { class: "faint", x: at.width - at.right, y: top + 12, "text-anchor": "end" },
        it.size.replace("Standard_", "") + " " + it.capacity);
    } else {
      make(group, "text", { class: "name", x: 0, y: top + 15 }, clip(it.name, 32));
      make(group, "text", { class: "faint", x: 0, y: top + 31 }, clip(label, 36));
    }
    if (it.requested > view.to || until < view.from) return;
    const from = x(it.requested), to = x(until), ready = x(it.ready ?? until);
    make(group, "rect", { class: `bar ${it.capacity}`, x: from, y, width: Math.max(to - from, 2),
      height: LANE.bar, rx: 4 });
    make(group, "rect", { class: "boot", x: from, y, width: Math.max(ready - from, 0), height: LANE.bar, rx: 4 });
    const [places, count] = slots(it, until), height = Math.min((LANE.bar - 4) / count, 12);
    it.pods.forEach((pod, index) => {
      const start = pod.running ?? pod.bound, stop = pod.gone ?? until;
      if (start > view.to || stop < view.from) return;
      const node = make(group, "rect", { class: "pod", x: x(start), y: y + 2.5 + height * places[index],
        width: Math.max(x(stop) - x(start), 1.5), height: Math.max(height - 1, 1), rx: 1.5 }, undefined,
        `${pod.name}, ${pod.cpu}m CPU, bound ${stamp(pod.bound)}`);
      if (view.text && !has(pod.name)) node.classList.add("dim");
    });
  };

  const draw = () => {
    at = geometry();
    const shown = data.machines.filter((it) =>
      (it.gone ?? end) >= view.from && it.requested <= view.to &&
      has(it.name, it.pool, it.size, it.zone, it.capacity, ...it.pods.map((pod) => pod.name)));
    const some = shown.slice(0, view.lanes);
    const gap = at.narrow ? 42 : 26, rows = at.narrow ? LANE.narrow : LANE.wide;
    const marks = 30, costTop = marks + gap * 3 + 12, costHeight = at.narrow ? 80 : 96;
    const lanesTop = costTop + costHeight + 44;
    const bottom = lanesTop + Math.max(some.length, 1) * rows + (shown.length > some.length ? 30 : 0);
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("width", at.width);
    svg.setAttribute("height", bottom + 26);
    svg.setAttribute("viewBox", `0 0 ${at.width} ${bottom + 26}`);
    const defs = make(svg, "defs", {});
    const pattern = make(defs, "pattern", { id: "boot", width: 6, height: 6, patternUnits: "userSpaceOnUse",
      patternTransform: "rotate(45)" });
    make(pattern, "rect", { width: 3, height: 6, class: "hatch" });
    axis(svg, 12, bottom);
    const verdicts = [
      ...data.expectations.map((it) => ({ at: it.at, shape: it.ok ? "ok" : "bad", text: it.what, why: it.seen, kind: "verdict" })),
      ...data.invariants.filter((it) => !it.ok).map((it) => ({ at: it.at, shape: "bad", text: it.id, why: it.seen, kind: "verdict" })),
    ];
    const of = (kind, shape) => events.filter((it) => it.kind === kind)
      .map((it) => ({ ...it, shape, event: it }));
    strip(svg, marks, "Verdicts", verdicts);
    strip(svg, marks + gap, "Faults", [...of("fault", "fault"), ...of("process", "process")]);
    strip(svg, marks + gap * 2, "Decisions", [...of("decision", "decision"), ...of("step", "stepmark")]);
    cost(svg, costTop, costHeight);
    heading(svg, lanesTop - 14, "Machines and their pods", undefined);
    if (!shown.length) make(svg, "text", { class: "faint", x: at.left, y: lanesTop + 24 },
      data.machines.length ? "no machine here" : "no machine was requested");
    some.forEach((it, index) => lane(svg, it, lanesTop + index * rows));
    if (shown.length > some.length) {
      const more = make(svg, "text", { class: "link", x: at.left, y: bottom - 8 },
        `${shown.length - some.length} more machines: show`);
      more.addEventListener("click", () => { view.lanes += 200; draw(); });
    }
    chart.replaceChildren(svg);
    document.querySelector(".window").textContent = `${stamp(view.from)} to ${stamp(view.to)}`;
    table();
  };

  const boxes = [...document.querySelectorAll("input[data-kind]")];
  const body = document.querySelector(".timeline tbody");
  const more = document.getElementById("more");
  const listed = () => {
    const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.kind));
    return events.filter((it) => kinds.has(it.kind) && inside(it.at) && has(it.text, it.why, it.kind));
  };
  const table = () => {
    const all = listed();
    const cell = (row, name, text) => {
      const node = row.appendChild(document.createElement("td"));
      node.className = name;
      node.textContent = text;
      return node;
    };
    body.replaceChildren(...all.slice(0, view.rows).map((it) => {
      const row = document.createElement("tr"), index = events.indexOf(it);
      row.dataset.kind = it.kind;
      row.dataset.index = index;
      row.classList.toggle("selected", index === view.selected);
      cell(row, "time", stamp(it.at));
      const tag = cell(row, "kind", "").appendChild(document.createElement("span"));
      tag.className = `tag ${it.kind}`;
      tag.textContent = it.kind;
      const words = cell(row, "words", it.text);
      if (it.why) {
        const why = words.appendChild(document.createElement("div"));
        why.className = "why";
        why.textContent = it.why;
      }
      row.addEventListener("click", () => select(index, false));
      return row;
    }));
    more.hidden = all.length <= view.rows;
    document.querySelector(".count").textContent = `${all.length} of ${events.length}`;
  };

  const show = (from, to) => {
    const span = Math.min(Math.max(to - from, LEAST), end);
    view.from = Math.min(Math.max(from, 0), end - span);
    view.to = view.from + span;
    draw();
  };
  const zoom = (factor, middle) => {
    const span = (view.to - view.from) * factor;
    const center = middle ?? (view.from + view.to) / 2;
    const share = (center - view.from) / (view.to - view.from);
    show(center - span * share, center - span * share + span);
  };
  const move = (share) => {
    const by = (view.to - view.from) * share;
    show(view.from + by, view.to + by);
  };
  const jump = (ms) => {
    const span = Math.min(view.to - view.from, Math.max(end / 8, LEAST));
    show(ms - span / 2, ms + span / 2);
  };
  const select = (index, scroll) => {
    if (index < 0) return;
    view.selected = index;
    const event = events[index];
    if (!inside(event.at)) jump(event.at); else draw();
    const row = body.querySelector("tr.selected");
    if (row && scroll) row.scrollIntoView({ block: "nearest" });
  };
  const next = (by, kind) => {
    const all = kind ? events.filter((it) => it.kind === kind) : listed();
    const now = events[view.selected];
    let place = all.indexOf(now);
    if (place < 0) place = by > 0 ? -1 : all.length;
    const event = all[Math.min(Math.max(place + by, 0), all.length - 1)];
    if (event) select(events.indexOf(event), true);
  };

  const help = document.querySelector(".help");
  const actions = {
    in: () => zoom(0.5), out: () => zoom(2), left: () => move(-0.25), right: () => move(0.25),
    all: () => show(0, end), help: () => { help.hidden = !help.hidden; },
  };
  const keys = {
    "+": actions.in, "=": actions.in, "-": actions.out, ArrowLeft: actions.left,
    ArrowRight: actions.right, 0: actions.all, "?": actions.help, j: () => next(1), k: () => next(-1),
    f: () => next(1, "fault"), Enter: () => { const it = events[view.selected]; if (it) jump(it.at); },
    x: () => { if (data.failure && data.failure.at !== null) jump(data.failure.at); },
    "/": () => filter.focus(),
    Escape: () => { filter.value = view.text = ""; help.hidden = true; draw(); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === filter;
    if (typing && event.key !== "Escape") return;
    if (event.target.tagName === "BUTTON" && event.key === "Enter") return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    if (typing) filter.blur();
    action();
  });
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do]());
  }
  for (const button of document.querySelectorAll(".jump")) {
    button.addEventListener("click", () => { jump(Number(button.dataset.at)); chart.scrollIntoView({ block: "center" }); });
  }
  filter.addEventListener("input", () => { view.text = filter.value.trim().toLowerCase(); draw(); });
  for (const box of boxes) box.addEventListener("change", table);
  more.addEventListener("click", () => { view.rows += 2000; table(); });
  chart.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const share = (event.offsetX - at.left) / (at.width - at.left - at.right);
    zoom(event.deltaY > 0 ? 1.25 : 0.8, view.from + (view.to - view.from) * Math.min(Math.max(share, 0), 1));
  }, { passive: false });
  let grip = null;
  chart.addEventListener("pointerdown", (event) => { grip = { x: event.clientX, from: view.from, to: view.to }; });
  chart.addEventListener("pointermove", (event) => {
    if (!grip || Math.abs(event.clientX - grip.x) < 4) return;
    const by = (grip.x - event.clientX) / (at.width - at.left - at.right) * (grip.to - grip.from);
    show(grip.from + by, grip.to + by);
  });
  for (const name of ["pointerup", "pointerleave"]) chart.addEventListener(name, () => { grip = null; });
  const copy = document.getElementById("copy");
  if (copy) copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById("reproduce").textContent);
    copy.textContent = "copied";
  });
  let width = 0;
  new ResizeObserver(() => { if (chart.clientWidth !== width) { width = chart.clientWidth; draw(); } }).observe(chart);
  draw();
})();
