// A page that shows what it reads again and again.

import { render } from "./dom.js";
import { live } from "./net.js";
import { notice } from "./parts.js";

// `sources`: for each name a path and, if wanted, what to do with a new answer; false ends the reading. `view` describes
// the page from {shown, problems, lives}. With `every`, the page is drawn again after so many milliseconds.
export function watch(main, sources, view, every) {
  const it = { shown: {}, problems: {}, lives: {}, draw, stop };
  function draw() {
    const texts = new Set(Object.values(it.problems).filter(Boolean));
    render(main, [...texts].map((text) => notice("bad", text)), view(it));
  }
  function stop() {
    Object.values(it.lives).forEach((each) => each.stop());
    clearInterval(ticking);
  }
  const ticking = every && setInterval(() => document.hidden || draw(), every);
  for (const [name, [path, take]] of Object.entries(sources)) {
    it.lives[name] = live(path, (value) => {
      it.shown[name] = value;
      delete it.problems[name];
      const more = take?.(value, it);
      draw();
      return more;
    }, (error) => {
      it.problems[name] = error?.message;
      draw();
    });
  }
  return it;
}
