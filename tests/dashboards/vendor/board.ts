// What a board may hold: Grafana's own types, put together as they belong. A JSON schema is made of it.
// Grafana's type of a panel leaves options and custom fields open; here the kind of panel decides.
import type { AnnotationQuery, Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel, VariableModel } from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';
import type { Options as Gauge } from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import type { FieldConfig as HeatmapField, Options as Heatmap } from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { FieldConfig as StatesField, Options as States } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type { FieldConfig as TableField, Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { FieldConfig as LinesField, Options as Lines } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

interface Fields<Custom> extends Omit<FieldConfigSource, 'defaults'> {
  defaults: Omit<FieldConfig, 'custom'> & { custom?: Custom };
}

interface Of<Kind extends string, Options, Custom> extends Omit<Panel, 'type' | 'options' | 'fieldConfig'> {
  type: Kind;
  options: Options;
  fieldConfig: Fields<Custom>;
}

type Shown =
  | Of<'gauge', Gauge, {}>
  | Of<'heatmap', Heatmap, HeatmapField>
  | Of<'stat', Stat, {}>
  | Of<'state-timeline', States, StatesField>
  | Of<'table', Table, TableField>
  | Of<'timeseries', Lines, LinesField>;

interface Row extends Omit<RowPanel, 'panels'> {
  panels: Shown[];
}

// What the Prometheus data source adds to an annotation; its types are not published under a free licence.
interface Mark extends AnnotationQuery {
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
}

// What Grafana writes beside the query of a variable, to show it in lists.
interface Variable extends VariableModel {
  definition?: string;
}

export interface Board extends Omit<Dashboard, 'annotations' | 'id' | 'panels' | 'templating'> {
  annotations: { list: Mark[] };
  id: null;
  panels: Array<Shown | Row>;
  templating: { list: Variable[] };
}
