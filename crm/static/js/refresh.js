// A region that follows long work: <div id="..." data-refresh="2" aria-live="polite">. The same page is asked again
// every so many seconds, and the region replaced, until the page sends it without data-refresh.

function follow(region) {
  const wait = Number(region.dataset.refresh || 2) * 1000;
  setTimeout(async () => {
    if (document.hidden) return follow(region);
    try {
      const answer = await fetch(region.dataset.refreshUrl || location.href, { headers: { Accept: 'text/html' } });
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const fresh = page.getElementById(region.id);
      if (!answer.ok || !fresh) return follow(region);
      if (fresh.innerHTML !== region.innerHTML) region.innerHTML = fresh.innerHTML;
      if (!fresh.hasAttribute('data-refresh')) return region.removeAttribute('data-refresh');
    } catch {
      // the network went away for a moment: ask again
    }
    follow(region);
  }, wait);
}

document.querySelectorAll('[data-refresh]').forEach(follow);
