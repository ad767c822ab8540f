// Looks at boards with Grafana's own libraries. Reads {boards, frames, damaged} as JSON from stdin, writes what it saw.
//
// boards: the dashboards; frames: for each table, by "uid/panel id", the labels that each query's answer has.
// damaged are boards in which something is wrong.
// findings and damage: what the schema made of board.ts does not allow in either; units: ids that Grafana knows, of those used;
// columns: what each table shows; empty: text and colour of each number when there is no data.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { lastValueFrom } from 'rxjs';

Object.defineProperty(globalThis, 'navigator', { value: { language: 'en-US', languages: ['en-US'] }, configurable: true });
const require = createRequire(import.meta.url); // Grafana's modules for import do not load outside a bundler
const { createGenerator } = require('ts-json-schema-generator');
const Ajv = require('ajv');
const {
  createDataFrame, createTheme, FieldType, getFieldDisplayValues, getValueFormats, standardTransformers,
  standardTransformersRegistry, transformDataFrame,
} = require('@grafana/data');
globalThis.window = {}; // transformations ask it whether they are in a dashboard; libraries, when loaded, whether it is a browser

const { boards, frames, damaged } = JSON.parse(readFileSync(0, 'utf8'));
const shown = (board) => board.panels.flatMap((each) => (each.type === 'row' ? each.panels : [each]));
const panels = boards.flatMap((board) => shown(board).map((panel) => ({ ...panel, key: `${board.uid}/${panel.id}` })));

// Grafana fills in what is not said, so nothing has to be; what is said has to be right.
function optional(schema) {
  if (Array.isArray(schema)) return schema.map(optional);
  if (schema === null || typeof schema !== 'object') return schema;
  const open = Object.entries(schema).filter(([key, value]) => key !== 'required' || !Array.isArray(value));
  return Object.fromEntries(open.map(([key, value]) => [key, optional(value)]));
}

function schema() {
  const folder = new URL('.', import.meta.url).pathname;
  const wanted = { path: `${folder}board.ts`, tsconfig: `${folder}tsconfig.json`, type: 'Board', expose: 'none', skipTypeCheck: true };
  return new Ajv({ strict: false }).compile(optional(createGenerator(wanted).createSchema('Board')));
}

const check = schema();
const findings = (board) => (check(board) ? [] : check.errors.map((error) => `${board.uid}${error.instancePath} ${error.message}`));

function units() {
  const known = new Set(getValueFormats().flatMap((group) => group.submenu.map((each) => each.value)));
  const named = JSON.stringify(boards).matchAll(/"unit":"([^"]+)"|"id":"unit","value":"([^"]+)"/g);
  const used = [...new Set([...named].map((found) => found[1] ?? found[2]))];
  return { known: known.size, unknown: used.filter((each) => !known.has(each)) };
}

// As the Prometheus data source answers a query of the format «table»: a column for each label, then the value.
function frame(refId, labels, several) {
  const words = labels.map((name) => ({ name, type: FieldType.string, values: [`${name} 1`, `${name} 2`] }));
  const value = { name: several ? `Value #${refId}` : 'Value', type: FieldType.number, values: [1, 2] };
  return createDataFrame({ refId, fields: [{ name: 'Time', type: FieldType.time, values: [1e12, 1e12] }, ...words, value] });
}

async function columns() {
  const each = Object.values(standardTransformers).map((one) => [one.id, { id: one.id, name: one.name, transformation: async () => one }]);
  standardTransformersRegistry.setInit(() => [...new Map(each).values()]);
  const found = {};
  for (const panel of panels.filter((each) => each.type === 'table')) {
    const answers = frames[panel.key].map(({ refId, labels }, _, all) => frame(refId, labels, all.length > 1));
    const [joined] = await lastValueFrom(transformDataFrame(panel.transformations, answers));
    found[panel.key] = { names: joined.fields.map((field) => field.config.displayName ?? field.name), rows: joined.length };
  }
  return found;
}

function empty() {
  const theme = createTheme();
  const values = panels.filter((each) => ['stat', 'gauge'].includes(each.type)).map((panel) => {
    const { reduceOptions } = panel.options;
    const [seen] = getFieldDisplayValues({ data: [], fieldConfig: panel.fieldConfig, reduceOptions, replaceVariables: (text) => text, theme });
    return [panel.key, { text: seen.display.text, color: seen.display.color }];
  });
  const alarming = ['red', 'orange', 'yellow'].map((name) => theme.visualization.getColorByName(name));
  return { values: Object.fromEntries(values), alarming };
}

console.log(JSON.stringify({
  findings: boards.flatMap(findings), damage: damaged.map(findings), units: units(), columns: await columns(), empty: empty(),
}));
