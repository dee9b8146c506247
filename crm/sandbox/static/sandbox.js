// Small comforts: local times, word of new mail, only the fields a fault uses. Everything works without them.

const local = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
for (const time of document.querySelectorAll("time")) {
  time.title = time.textContent;
  time.textContent = local.format(new Date(time.dateTime));
}

const fresh = document.querySelector("[data-seen]");
if (fresh && !("off" in fresh.dataset)) {
  const seen = Number(fresh.dataset.seen);
  const look = async () => {
    try {
      const { messages } = await (await fetch("/sandbox/status")).json();
      if (messages > seen && !fresh.firstChild) {
        const link = document.createElement("a");
        link.href = location.pathname;
        fresh.append(link);
      }
      if (fresh.firstChild) fresh.firstChild.textContent = `Show ${messages - seen} new`;
    } catch {
      // The sandbox is away for a moment: the next look tells.
    }
  };
  setInterval(() => document.hidden || look(), 3000);
}

const kind = document.querySelector("#kind");
if (kind) {
  const show = () => {
    for (const field of document.querySelectorAll("[data-for]")) field.hidden = field.dataset.for !== kind.value;
  };
  kind.addEventListener("change", show);
  show();
}

document.querySelector("#trouble")?.focus();
