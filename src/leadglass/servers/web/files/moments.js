// Times are chosen in the reader's zone and sent in UTC, in a hidden field beside.

function send(event) {
  const name = event.target.dataset?.moment;
  if (!name) return;
  const { value } = event.target;
  event.target.form.elements.namedItem(name).value = value ? new Date(value).toISOString() : '';
}
document.addEventListener('input', send);
document.addEventListener('change', send);

// What the address of the page asked for is shown as chosen.
document.querySelectorAll('[data-moment]').forEach((each) => {
  const { value } = each.form.elements.namedItem(each.dataset.moment);
  const when = value && new Date(value);
  if (!when || Number.isNaN(when.getTime())) return;
  const local = new Date(when.getTime() - when.getTimezoneOffset() * 60000);
  each.value = local.toISOString().slice(0, 16);
});
