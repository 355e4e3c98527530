/**
 * Put into a page before it is loaded: `pictureOfPage()` answers what of it is within its window as the text of an SVG file, made
 * of its boxes, its texts, and what it has drawn into canvases.
 */

/** Lets canvases remember what is drawn into them. */
function recordCanvases() {
  const paths = [Path2D.prototype, CanvasRenderingContext2D.prototype];
  for (const prototype of paths) {
    for (const [method, letter] of [
      ['moveTo', 'M'],
      ['lineTo', 'L'],
    ]) {
      const real = prototype[method];
      prototype[method] = function (x, y) {
        const first = (this.d ?? '') === '' ? 'M' : letter;
        this.d = `${this.d ?? ''}${first}${Math.round(x * 10) / 10} ${Math.round(y * 10) / 10}`;
        real.call(this, x, y);
      };
    }
  }
  const context = CanvasRenderingContext2D.prototype;
  const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const before = (method, act) => {
    const real = context[method];
    context[method] = function (...args) {
      act(this, args);
      real.apply(this, args);
    };
  };
  const draw = (its, text) => {
    const canvas = its.canvas;
    const { e, f } = its.getTransform();
    canvas.drawn = [...(canvas.drawn ?? []), `<g transform="translate(${e} ${f})">${text}</g>`];
  };
  before('clearRect', (its) => {
    its.canvas.drawn = [];
  });
  before('beginPath', (its) => {
    its.d = '';
  });
  before('stroke', (its, [path = its]) => {
    const { strokeStyle, lineWidth } = its;
    const dashes = its.getLineDash().join(' ');
    const dashed = dashes === '' ? '' : ` stroke-dasharray="${dashes}"`;
    const { d = '' } = path;
    if (d !== '')
      draw(its, `<path d="${d}" fill="none" stroke="${strokeStyle}" stroke-width="${lineWidth}"${dashed}/>`);
  });
  before('fill', (its, [path = its]) => {
    const { d = '' } = path;
    if (d !== '') draw(its, `<path d="${d}" fill="${its.fillStyle}"/>`);
  });
  before('fillText', (its, [text, x, y]) => {
    const anchor = { center: 'middle', right: 'end' }[its.textAlign] ?? 'start';
    const base = { top: 'text-before-edge', middle: 'central' }[its.textBaseline] ?? 'alphabetic';
    draw(
      its,
      `<text x="${x}" y="${y}" fill="${its.fillStyle}" font-size="11" text-anchor="${anchor}" dominant-baseline="${base}">${escaped(String(text))}</text>`,
    );
  });
}
async function pictureOfPage() {
  const parts = [];
  const escaped = (text2) => text2.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const round = (value) => Math.round(value * 10) / 10;
  const isSeen = (colour) => !/^rgba\(.*, 0\)$|^transparent$/.test(colour);
  const icon = (await (await fetch('/icon.svg')).text()).replace(/^.*?<svg/s, '<svg');
  /** The part of the window in which an element can be seen. */
  function clipOf(element) {
    let [top, bottom] = [0, innerHeight];
    for (let each = element.parentElement; each !== null; each = each.parentElement) {
      if (getComputedStyle(each).overflowY === 'visible' || each === document.documentElement) continue;
      const { top: its, bottom: end } = each.getBoundingClientRect();
      [top, bottom] = [Math.max(top, its), Math.min(bottom, end)];
    }
    return { top, bottom };
  }
  function text(content, box2, style) {
    const size2 = Number.parseFloat(style.fontSize);
    const y = round(box2.top + box2.height / 2 + size2 * 0.36);
    const weight = Number(style.fontWeight) > 500 ? ' font-weight="600"' : '';
    const mono = style.fontFamily.includes('monospace') ? ' font-family="monospace"' : '';
    parts.push(
      `<text x="${round(box2.left)}" y="${y}" font-size="${round(size2)}" fill="${style.color}" textLength="${round(box2.width)}" lengthAdjust="spacingAndGlyphs"${weight}${mono}>${escaped(content)}</text>`,
    );
  }
  function texts(node, style, { top, bottom }) {
    const range = document.createRange();
    let line;
    const flush = () => {
      if (line !== void 0 && line.box.top >= top && line.box.bottom <= bottom) text(line.content, line.box, style);
      line = void 0;
    };
    for (const { index, 0: word } of node.data.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const box2 = range.getBoundingClientRect();
      if (line !== void 0 && Math.abs(line.box.top - box2.top) < 2) {
        const { left, top: start, height } = line.box;
        line = { content: `${line.content} ${word}`, box: new DOMRect(left, start, box2.right - left, height) };
      } else {
        flush();
        line = { content: word, box: box2 };
      }
    }
    flush();
  }
  function box(element, style, rect, clip) {
    const [top, bottom] = [Math.max(rect.top, clip.top), Math.min(rect.bottom, clip.bottom)];
    if (bottom <= top) return;
    const shape = `x="${round(rect.left)}" y="${round(top)}" width="${round(rect.width)}" height="${round(bottom - top)}"`;
    const radius = Number.parseFloat(style.borderTopLeftRadius) || 0;
    const fill = isSeen(style.backgroundColor) ? style.backgroundColor : 'none';
    const sides = ['Top', 'Right', 'Bottom', 'Left'].map((side) => ({
      width: Number.parseFloat(style[`border${side}Width`]),
      colour: String(style[`border${side}Color`]),
    }));
    const [above, , below] = sides;
    const isFramed = sides.every(({ width, colour }) => width > 0 && isSeen(colour));
    if (fill !== 'none' || isFramed) {
      const stroke = isFramed ? ` stroke="${above.colour}"` : '';
      parts.push(`<rect ${shape} rx="${radius}" fill="${fill}"${stroke}/>`);
    }
    if (isFramed) return;
    for (const [side, y] of [
      [above, rect.top],
      [below, rect.bottom],
    ]) {
      if (side.width === 0 || !isSeen(side.colour) || y < clip.top || y > clip.bottom) continue;
      parts.push(
        `<path d="M${round(rect.left)} ${round(y)}H${round(rect.right)}" stroke="${side.colour}" stroke-width="${side.width}"/>`,
      );
    }
    if (style.boxShadow.includes('inset')) {
      const colour = /^rgba?\([^)]*\)/.exec(style.boxShadow)?.[0] ?? 'none';
      parts.push(
        `<rect x="${round(rect.left)}" y="${round(top)}" width="4" height="${round(bottom - top)}" fill="${colour}"/>`,
      );
    }
    if (element instanceof HTMLMeterElement) {
      const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent');
      parts.push(
        `<rect x="${round(rect.left)}" y="${round(top)}" width="${round(rect.width * element.value)}" height="${round(bottom - top)}" rx="3" fill="${accent}"/>`,
      );
    }
  }
  function draw(element) {
    const style = getComputedStyle(element);
    const rect = element.getBoundingClientRect();
    if (style.display === 'none' || style.visibility === 'hidden') return;
    const clip = clipOf(element);
    if (rect.width > 0 && rect.right > 0) box(element, style, rect, clip);
    if (element instanceof HTMLImageElement) {
      parts.push(
        icon.replace('<svg', `<svg x="${rect.left}" y="${rect.top}" width="${rect.width}" height="${rect.height}"`),
      );
    } else if (element instanceof HTMLCanvasElement) {
      const { drawn = [] } = element;
      parts.push(`<g transform="translate(${round(rect.left)} ${round(rect.top)})">${drawn.join('')}</g>`);
    } else if (element instanceof SVGLineElement) {
      const dashed = element.getAttribute('stroke-dasharray');
      const y = round(rect.top + rect.height / 2);
      const dashes = dashed === null ? '' : ` stroke-dasharray="${dashed}"`;
      parts.push(`<path d="M${round(rect.left)} ${y}h18" stroke="${style.stroke}" stroke-width="2"${dashes}/>`);
    } else if (element instanceof HTMLInputElement || element instanceof HTMLSelectElement) {
      const shown =
        element instanceof HTMLSelectElement ? element.selectedOptions[0]?.text : element.value || element.placeholder;
      if (rect.top >= clip.top && rect.bottom <= clip.bottom) {
        const size2 = Number.parseFloat(style.fontSize);
        const left = rect.left + Number.parseFloat(style.paddingLeft);
        text(shown ?? '', new DOMRect(left, rect.top, (shown ?? '').length * size2 * 0.56, rect.height), style);
      }
    } else {
      for (const node of element.childNodes) {
        if (node instanceof Text) {
          if (rect.right > 0 && style.clipPath === 'none') texts(node, style, clip);
        } else if (node instanceof Element) draw(node);
      }
    }
  }
  draw(document.body);
  const size = `width="${innerWidth}" height="${innerHeight}" viewBox="0 0 ${innerWidth} ${innerHeight}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="system-ui, sans-serif">
<title>The dashboard of a balancer that runs</title>
${parts.join('\n')}
</svg>
`;
}

recordCanvases();
globalThis.pictureOfPage = pictureOfPage;
