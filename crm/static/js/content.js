// How an email is looked at: <form data-looks="frame ids"> says as what, and its frames follow.

const form = document.querySelector('[data-looks]');
const frames = form.dataset.looks.split(' ').map((id) => document.getElementById(id)).filter(Boolean);
form.querySelector('[data-without-script]').hidden = true;

export function show() {
  const wish = new FormData(form);
  const asked = new URLSearchParams({ mode: wish.get('mode'), dark: wish.get('dark'), person: wish.get('person') });
  frames.forEach((frame, number) => {
    const wanted = number === 0 || wish.get('beside') === '1';
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
