"use strict";
// The masks of a pattern, the same to the bit as `tad.keep_mask(pattern, shape, seed)` for the first example.
// The hash and the arithmetic are those of tf_autodropout/masks; a test compares the two.
const Masks = (() => {
  const FAR = 2 ** 31 - 1, RATE_BITS = 24, OWN_KEY = 2 ** 18, GEOMETRY = 2 ** 32;
  const fold = (x, bits) => (x ^ (x >>> bits)) >>> 0;

  function randomBits(key, counter) {
    let x = Math.imul(fold((counter + key[0]) >>> 0, 16), 0x7feb352d) >>> 0;
    x = (x ^ key[1]) >>> 0;
    x = Math.imul(fold(x, 15), 0x846ca68b) >>> 0;
    return fold(x, 16);
  }

  function foldIn(key, data) {
    const first = randomBits(key, data);
    return [first, randomBits([key[1], first], (data + 0x9e3779b9) >>> 0)];
  }

  const keyOf = (seed) => foldIn([seed >>> 0, 0], 1);
  const isDrawn = (bits, rate) => bits >>> 8 < Math.round(rate * 2 ** RATE_BITS);

  // Pattern coordinates of each cell of an (h, w) plane, from 0 on: the inverse of (rotate after shear).
  function turned(turn, h, w) {
    const [rotate, shearX, shearY] = turn, angle = rotate * Math.PI / 180;
    const cos = Math.cos(angle), sin = Math.sin(angle), det = 1 - shearX * shearY;
    const fixed = (x) => Math.round(x / det * GEOMETRY);
    // inv(shear) @ rotation^T, rotation = [[cos, sin], [-sin, cos]]
    const xx = fixed(cos - shearX * sin), xy = fixed(-sin - shearX * cos);
    const yx = fixed(sin - shearY * cos), yy = fixed(cos + shearY * sin);
    const u = new Int32Array(h * w), v = new Int32Array(h * w);
    for (let i = 0; i < h; i++) {
      for (let j = 0; j < w; j++) {
        const x2 = 2 * j - (w - 1), y2 = 2 * i - (h - 1);
        v[i * w + j] = Math.floor((xx * x2 + xy * y2 + GEOMETRY) / (2 * GEOMETRY));
        u[i * w + j] = Math.floor((yx * x2 + yy * y2 + GEOMETRY) / (2 * GEOMETRY));
      }
    }
    const from0 = (a) => { const low = a.reduce((x, y) => Math.min(x, y), Infinity); return a.map((x) => x - low); };
    return [from0(u), from0(v)];
  }

  // For each axis of a map its profile, the pattern coordinate of each cell along it, and the span of these.
  function axesOf(pattern, sizes) {
    const [, lengths, strides, repeat, turn] = pattern, last = sizes.length - 1;
    const plane = last > 0 && turn.some((x) => x !== 0) ? turned(turn, sizes[last - 1], sizes[last]) : null;
    return sizes.map((count, axis) => {
      const size = lengths[axis], stride = strides[axis], length = repeat * size + (repeat - 1) * stride;
      const single = repeat === 1 || stride === 0;
      const base = plane && axis >= last - 1 ? plane[axis - last + 1] : null;
      const span = base ? base.reduce((x, y) => Math.max(x, y), 0) : count - 1;
      return { size, length, run: single ? length : size, period: single ? FAR : size + stride, base, span, repeat };
    });
  }

  // Booleans, true = dropped, of one channel of a map.
  function ofMap(pattern, shape, seed, channel) {
    const sizes = shape.slice(0, -1), [, , , , , shareC, rate] = pattern, axes = axesOf(pattern, sizes);
    const key = keyOf(seed), index = shareC ? 0 : channel;
    const keys = { 1: [1], 2: [1, 2], 3: [4, 1, 2] }[sizes.length];
    const applied = isDrawn(randomBits(foldIn(key, 3), index), rate);
    const covers = axes.every((axis) => axis.size > axis.span);
    const shifts = axes.map((axis, i) => {
      if (!applied) return FAR - 1;
      const bits = randomBits(foldIn(key, keys[i]), index);
      return covers ? axis.length - 1 : (bits >>> 1) % (axis.span + axis.length);
    });
    const total = sizes.reduce((a, b) => a * b, 1), dropped = new Uint8Array(total);
    const h = sizes.length > 1 ? sizes[sizes.length - 2] : 1, w = sizes[sizes.length - 1];
    for (let cell = 0; cell < total; cell++) {
      const column = cell % w, row = Math.floor(cell / w) % h, slice = Math.floor(cell / w / h);
      const straight = sizes.length === 1 ? [column] : sizes.length === 2 ? [row, column] : [slice, row, column];
      dropped[cell] = axes.every((axis, i) => {
        const place = (axis.base ? axis.base[row * w + column] : straight[i]) + axis.length - 1 - shifts[i];
        return place >= 0 && place < axis.length && place % axis.period < axis.run;
      }) ? 1 : 0;
    }
    return dropped;
  }

  // Booleans of (T, C), the first `shown` features only.
  function ofTokens(pattern, shape, seed, shown) {
    const [, size, stride, shareT, shareC, rate] = pattern, [t, c] = shape;
    const key = keyOf(seed), period = Math.max(size + stride, 1);
    const phase = size >= t ? 0 : (randomBits(foldIn(key, 1), 0) >>> 1) % period;
    let own = foldIn(key, 2);
    if (t * c >= OWN_KEY) own = foldIn(own, 0);
    const dropped = new Uint8Array(t * shown);
    for (let i = 0; i < t; i++) {
      const past = i + phase;
      if (past % period >= size) continue;
      const token = shareT ? Math.floor(past / period) : i;
      for (let j = 0; j < shown; j++) {
        const counter = (Math.imul(token, c) + (shareC ? 0 : j)) >>> 0;
        dropped[i * shown + j] = isDrawn(randomBits(own, counter), rate) ? 1 : 0;
      }
    }
    return dropped;
  }

  // Probability that a cell is dropped, and that a map has the pattern at all.
  function chance(pattern, shape) {
    if (pattern[0] === "tokens") {
      const [, size, stride, shareT, shareC, rate] = pattern, covers = size >= shape[0];
      return { drop: rate * (covers ? 1 : size / (size + stride)), acts: covers && shareT && shareC ? rate : 1 };
    }
    const rate = pattern[6], axes = axesOf(pattern, shape.slice(0, -1));
    if (axes.every((axis) => axis.size > axis.span)) return { drop: rate, acts: rate };
    return { drop: axes.reduce((p, a) => p * a.repeat * a.size / (a.span + a.length), rate), acts: rate };
  }

  // `count` draws that drop something: {dropped, seed} each; a pattern of a rate is drawn as it is where it acts.
  function tellingDraws(pattern, shape, count, from, shown) {
    const found = [], { acts } = chance(pattern, shape);
    const applied = acts < 1 ? pattern.map((x, i) => (i === (pattern[0] === "map" ? 6 : 5) ? 1 : x)) : pattern;
    for (let seed = from; seed < from + 300 && found.length < count; seed++) {
      const dropped = draw(applied, shape, seed, 0, shown);
      if (dropped.some((x) => x) || seed >= from + 300 - count) found.push({ dropped, seed });
    }
    return found;
  }

  const draw = (pattern, shape, seed, channel = 0, shown = shape[1]) =>
    pattern[0] === "tokens" ? ofTokens(pattern, shape, seed, shown) : ofMap(pattern, shape, seed, channel);

  return { draw, chance, tellingDraws };
})();
