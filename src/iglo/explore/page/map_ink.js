// What is drawn on a map in the colours of the theme: dots, the ring around the picked place, the cross-hair.

export function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A dot of one colour with a thin border, drawn once and then copied.
export function dotSprite(colour, radius, ratio, border) {
  const sprite = document.createElement("canvas");
  const size = Math.ceil((radius + 1) * 2 * ratio);
  sprite.width = sprite.height = size;
  const context = sprite.getContext("2d");
  context.beginPath();
  context.arc(size / 2, size / 2, radius * ratio, 0, Math.PI * 2);
  context.fillStyle = colour;
  context.fill();
  if (radius > 2.5) {
    context.strokeStyle = border;
    context.lineWidth = ratio * 0.75;
    context.stroke();
  }
  return sprite;
}

// A line of the colour of the ink with a border of the colour of the paper.
function strokeTwice(context, wide, narrow, trace) {
  for (const [width, colour] of [[wide, "--paper"], [narrow, "--ink"]]) {
    context.lineWidth = width;
    context.strokeStyle = cssColour(colour);
    context.beginPath();
    trace();
    context.stroke();
  }
}

export function drawRing(context, x, y) {
  strokeTwice(context, 5, 2, () => context.arc(x, y, 9, 0, Math.PI * 2));
}

export function drawCross(context, x, y) {
  strokeTwice(context, 4, 1.5, () => {
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 5, y + dy * 5);
      context.lineTo(x + dx * 16, y + dy * 16);
    }
  });
}
