// Passkeys: ask for a challenge, let the browser make or use a key, put its answer in the form and send that.
// Forms stay hidden where the browser knows no passkeys, or the page is open under another address than keys are for.

const toBytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));
const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
const named = (list = []) => list.map((one) => ({ ...one, id: toBytes(one.id) }));

const ways = {
  create: (options) =>
    navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        user: { ...options.user, id: toBytes(options.user.id) },
        excludeCredentials: named(options.excludeCredentials),
      },
    }),
  get: (options) =>
    navigator.credentials.get({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        allowCredentials: named(options.allowCredentials),
      },
    }),
};

function written({ id, rawId, type, response }) {
  const parts = {};
  for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
    if (response[name]) parts[name] = toText(response[name]);
  }
  return JSON.stringify({ id, rawId: toText(rawId), type, response: parts });
}

async function challenge(form) {
  const headers = { Accept: 'application/json', 'X-CSRFToken': form.elements.namedItem('csrf_token').value };
  const answer = await fetch(form.dataset.passkeyChallenge, { method: 'POST', headers, cache: 'no-store' });
  if (answer.redirected || !answer.ok) throw new Error(`challenge: ${answer.status}`);
  return answer.json();
}

async function go(form) {
  const said = form.querySelector('[data-passkey-said]');
  said.textContent = said.dataset.working;
  try {
    const options = await challenge(form);
    form.querySelector('[data-passkey-answer]').value = written(await ways[form.dataset.passkey](options));
    said.textContent = '';
    form.submit();
  } catch (error) {
    const why = { NotAllowedError: 'stopped', AbortError: 'stopped', InvalidStateError: 'known' }[error.name];
    said.textContent = said.dataset[why] ?? said.dataset.failed;
  }
}

for (const form of document.querySelectorAll('form[data-passkey]')) {
  if (!window.PublicKeyCredential || location.origin !== form.dataset.origin) continue;
  let busy = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    await go(form);
    busy = false;
  });
  form.hidden = false;
  document.querySelector('[data-passkey-missing]')?.remove();
}
