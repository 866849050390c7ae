// For an exported page, which has no Python: where a number comes from, by the same data as scratchnet/explorer/sums.py
// and in the same form. It looks up recorded numbers; it computes no layer.
const LISTED = 24; // terms of a long sum that are listed, as in sums.py

const evaluate = (form, at) => Object.entries(form).reduce((sum, [name, times]) => sum + times * (name ? at[name] : 1), 0);

/** A factor at the places `at`: its value, and its index; undefined outside its array. */
function lookUp(factor, arrays, at) {
  const { shape, data } = arrays[factor.array];
  const index = factor.at.map((form) => evaluate(form, at));
  if (index.some((k, axis) => k < 0 || k >= shape[axis])) return undefined;
  let value = data[index.reduce((sum, k, axis) => sum * shape[axis] + k, 0)];
  if (factor.test === "positive") value = value > 0 ? 1 : 0;
  if (factor.test === "equals") value = value === evaluate(factor.to, at) ? 1 : 0;
  return { value, index };
}

const nameOfFactor = (f) => ({ "": f.array, positive: `${f.array} > 0`, equals: "wins" })[f.test];

/** One term of a sum: its factors and their product; undefined if it is left out. */
function termAt(part, arrays, at) {
  const found = part.factors.map((factor) => lookUp(factor, arrays, at));
  if (found.some((f, k) => f === undefined || (f.value === 0 && part.sparse.includes(part.factors[k].array)))) return undefined;
  return { found, product: found.reduce((product, f) => product * f.value, part.scale) };
}

/** Where number `index` of an array comes from. */
export function takeApart(walked, stage, array, index, layer) {
  const { arrays } = walked.stages[stage];
  const { shape, data } = arrays[array];
  const rule = globalThis.RECORDED.sums[stage][array];
  const kept = globalThis.RECORDED.kept[stage]?.[array];
  const value = data ? data[index.reduce((sum, k, axis) => sum * shape[axis] + k, 0)] : undefined;
  if (!rule) return { value };
  const last = [];
  let rest = index.at(-1);
  for (const size of [...rule.split].reverse()) { last.unshift(rest % size); rest = Math.floor(rest / size); }
  const places = rule.split.length ? [...index.slice(0, -1), ...last] : index;
  const named = Object.fromEntries(rule.letters.map((name, k) => [name, places[k]]));
  const sums = rule.sums.map((part, k) => (kept && k === 0 ? keptSum(part, arrays, named, kept, index[0]) : sumOf(part, arrays, named, layer)));
  const total = sums.reduce((sum, part) => sum + part.total, 0);
  return { value: value ?? total, sums, total, named };
}

/** A sum whose weights are too many for a page: its largest terms were recorded, and its total. */
function keptSum(part, arrays, named, kept, k) {
  const terms = kept.at[k].map((at, place) => {
    const first = lookUp(part.factors[0], arrays, { ...named, [Object.keys(part.over)[0]]: at });
    return { at, values: [first.value, kept.w[k][place]], product: first.value * kept.w[k][place] };
  });
  const total = kept.totals[k];
  const shown = terms.reduce((sum, term) => sum + term.product, 0);
  const count = Object.values(part.over)[0] - terms.length;
  return { factors: part.factors.map(nameOfFactor), scale: 1, over: Object.keys(part.over), total, terms, rest: { count, sum: total - shown }, touched: {}, turned: [false, false] };
}

function sumOf(part, arrays, named, layer) {
  const names = Object.keys(part.over), sizes = Object.values(part.over);
  const visible = part.factors.map((_, k) => k).filter((k) => part.factors[k].array !== "window");
  const touched = {};
  let total = 0;
  const visit = (at) => {
    const term = termAt(part, arrays, at);
    if (!term) return undefined;
    total += term.product;
    part.factors.forEach((factor, k) => {
      if (!factor.at.length || factor.array === "window") return;
      const ranges = (touched[factor.array] ??= term.found[k].index.map((i) => [i, i]));
      term.found[k].index.forEach((i, axis) => { ranges[axis] = [Math.min(ranges[axis][0], i), Math.max(ranges[axis][1], i)]; });
    });
    return { product: term.product, values: visible.map((k) => term.found[k].value) };
  };
  const shown = { factors: visible.map((k) => nameOfFactor(part.factors[k])), scale: part.scale, over: names, touched,
    turned: visible.map((k) => part.factors[k].at.some((form) => names.some((name) => form[name] < 0))) };
  if (!names.length) {
    const term = visit(named);
    return { ...shown, total, values: term?.values ?? [] };
  }
  const [A, B = 1, D = 1] = sizes;
  if (names.length === 1) {
    const terms = [];
    for (let a = 0; a < A; a++) { const term = visit({ ...named, [names[0]]: a }); if (term) terms.push({ at: a, ...term }); }
    terms.sort((p, q) => Math.abs(q.product) - Math.abs(p.product));
    const others = terms.slice(LISTED);
    return { ...shown, total, terms: terms.slice(0, LISTED), rest: { count: others.length, sum: others.reduce((s, t) => s + t.product, 0) } };
  }
  const layers = new Array(D).fill(0), every = [];
  const box = [A, 0, B, 0];
  for (let a = 0; a < A; a++) for (let b = 0; b < B; b++) for (let d = 0; d < D; d++) {
    const term = visit({ ...named, [names[0]]: a, [names[1]]: b, [names[2] ?? ""]: d });
    every.push(term);
    if (!term) continue;
    layers[d] += term.product;
    box[0] = Math.min(box[0], a); box[1] = Math.max(box[1], a); box[2] = Math.min(box[2], b); box[3] = Math.max(box[3], b);
  }
  const sizesOf = layers.map(Math.abs);
  const chosen = layer === undefined || layer === null ? sizesOf.indexOf(Math.max(...sizesOf)) : Math.min(Math.max(layer, 0), D - 1);
  const [a0, a1, b0, b1] = part.crop && box[0] <= box[1] ? box : [0, A - 1, 0, B - 1];
  const cut = (read) => range(a0, a1).map((a) => range(b0, b1).map((b) => { const term = every[(a * B + b) * D + chosen]; return term ? read(term) : null; }));
  return { ...shown, total, ...(names.length === 3 ? { layers, layer: chosen } : {}), grid: visible.map((_, k) => cut((t) => t.values[k])),
    products: cut((t) => t.product), first: [a0, b0] };
}

const range = (first, last) => Array.from({ length: last - first + 1 }, (_, k) => first + k);
