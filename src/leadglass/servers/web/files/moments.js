// Times are chosen in the reader's zone and sent in UTC, in a hidden field beside.

const hidden = (each) => each.form.querySelector(`input[type="hidden"][name="${each.dataset.moment}"]`);

function send(event) {
  if (!event.target.dataset?.moment) return;
  const { value } = event.target;
  hidden(event.target).value = value ? new Date(value).toISOString() : '';
}
document.addEventListener('input', send);
document.addEventListener('change', send);

// What the address of the page asked for is shown as chosen.
document.querySelectorAll('[data-moment]').forEach((each) => {
  const { value } = hidden(each);
  const when = value && new Date(value);
  if (!when || Number.isNaN(when.getTime())) return;
  const local = new Date(when.getTime() - when.getTimezoneOffset() * 60000);
  each.value = local.toISOString().slice(0, 16);
});
