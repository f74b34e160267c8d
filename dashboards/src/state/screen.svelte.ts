// Whether the screen is as narrow as a telephone's; the same border as in the style sheets.

const query = window.matchMedia('(max-width: 720px)');

class Screen {
  narrow = $state(query.matches);

  constructor() {
    query.addEventListener('change', () => (this.narrow = query.matches));
  }
}

export const screen = new Screen();
