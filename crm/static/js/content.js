// How an email is looked at: <form data-looks="frame ids"> says as what, and its frames follow.

const form = document.querySelector('[data-looks]');
const frames = form.dataset.looks.split(' ').map((id) => document.getElementById(id)).filter(Boolean);
const panes = form.closest('.panes');
form.querySelector('[data-without-script]').hidden = true;

// a frame that is loaded anew stays where its reader was, and two languages move together
const places = new WeakMap(); // frame -> how far down, as a share of its height

function share(frame) {
  const page = frame.contentDocument?.scrollingElement;
  const room = page ? page.scrollHeight - page.clientHeight : 0;
  return room > 0 ? page.scrollTop / room : 0;
}

function put(frame, place) {
  const page = frame.contentDocument?.scrollingElement;
  if (!page) return;
  const top = Math.round(place * (page.scrollHeight - page.clientHeight));
  if (Math.abs(page.scrollTop - top) > 1) page.scrollTop = top;
}

function follow(frame) {
  put(frame, places.get(frame) ?? 0);
  frame.contentWindow?.addEventListener('scroll', () => {
    const place = share(frame);
    if (Math.abs(place - (places.get(frame) ?? 0)) < 0.002) return;
    frames.forEach((one) => places.set(one, place));
    frames.filter((one) => one !== frame && !one.hidden).forEach((one) => put(one, place));
  }, { passive: true });
}
frames.forEach((frame) => {
  frame.addEventListener('load', () => follow(frame));
  if (frame.contentDocument?.readyState === 'complete') follow(frame);
});

export function show() {
  const wish = new FormData(form);
  const asked = new URLSearchParams({ mode: wish.get('mode'), dark: wish.get('dark'), person: wish.get('person') });
  const both = wish.get('beside') === '1';
  panes?.classList.toggle('with-other', both);
  frames.forEach((frame, number) => {
    const wanted = number === 0 || both;
    frame.hidden = !wanted;
    frame.classList.toggle('preview-desktop', wish.get('mode') === 'desktop');
    frame.classList.toggle('preview-phone', wish.get('mode') !== 'desktop');
    // replaced, not followed: the way back leads to the page before
    if (wanted) frame.contentWindow.location.replace(`${frame.dataset.src}?${asked}`);
  });
}

form.addEventListener('change', show);
form.addEventListener('submit', (event) => {
  event.preventDefault();
  show();
});
