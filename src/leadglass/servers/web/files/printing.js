// A button that prints the page; its sheet says what is left out.
document.addEventListener('click', (event) => {
  if (event.target.closest?.('[data-print]')) window.print();
});
