// Proof of work for a public form: ask for a challenge, solve it beside the page, put the answer in the hidden field.
// The button is never disabled: a form sent too early waits for the answer and then goes by itself.

const HUMAN = 3_500; // nobody fills a form in faster (ms); a quick press waits for it instead of being refused
const EARLY = 20_000; // a proof this close (ms) to its end is made anew before sending

function expiry(salt) {
  const seconds = new URLSearchParams(salt.split('?')[1] || '').get('expires');
  return seconds ? Number(seconds) * 1000 : Infinity;
}

function solve(challenge) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./proof_worker.js', import.meta.url), { type: 'module' });
    const done = (settle) => (event) => {
      worker.terminate();
      settle(event);
    };
    worker.onerror = done(reject);
    worker.onmessage = done(({ data }) => (data === null ? reject(new Error('no number fits')) : resolve(data)));
    worker.postMessage(challenge);
  });
}

class Proof {
  constructor(form) {
    this.form = form;
    this.field = form.elements.namedItem('altcha');
    this.status = form.querySelector('[data-proof-status]');
    this.goodUntil = 0;
    form.addEventListener('submit', (event) => this.sending(event));
    addEventListener('pageshow', (event) => event.persisted && this.make()); // back button: a proof works once
    this.make();
  }

  say(state) {
    this.status.dataset.state = state;
    this.status.textContent = this.status.dataset[state] || '';
  }

  make() {
    this.goodUntil = 0;
    this.field.value = '';
    this.working = this.work()
      .then(() => this.say('ready'))
      .catch(() => {
        this.working = null;
        this.say('failed');
      });
    return this.working;
  }

  async work() {
    this.say('working');
    const human = new Promise((resolve) => { setTimeout(resolve, HUMAN - performance.now()); });
    const answer = await fetch(this.form.dataset.challenge, { headers: { Accept: 'application/json' }, cache: 'no-store' });
    if (!answer.ok) throw new Error(`challenge: ${answer.status}`);
    const { algorithm, challenge, salt, signature, maxnumber, maxNumber } = await answer.json();
    const number = await solve({ challenge, salt, maxnumber: maxnumber ?? maxNumber });
    await human;
    this.field.value = btoa(JSON.stringify({ algorithm, challenge, number, salt, signature }));
    this.goodUntil = expiry(salt) - EARLY;
  }

  async sending(event) {
    if (this.field.value && Date.now() < this.goodUntil) return;
    event.preventDefault();
    const button = event.submitter;
    await (this.field.value || !this.working ? this.make() : this.working);
    if (this.field.value) this.form.requestSubmit(button);
    else this.status.focus();
  }
}

document.querySelectorAll('form[data-challenge]').forEach((form) => new Proof(form));
