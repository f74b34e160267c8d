// English names of device roles and quantities.
import type { Dictionary } from './dictionary';

export const deviceRoles: Dictionary['deviceRoles'] = {
  incomer: 'incomer', generation: 'own generation', production: 'production', dust_fan: 'dust fan', main_fan: 'main ventilator',
  drain_pump: 'drainage pump', treatment: 'treatment', gas_detector: 'gas detector', tank: 'tank', supply_watch: 'supply watch',
};

export const quantities: Dictionary['quantities'] = {
  u_a: 'Voltage A', u_b: 'Voltage B', u_c: 'Voltage C', i_a: 'Current A', i_b: 'Current B', i_c: 'Current C',
  p_total: 'Active power', q_total: 'Reactive power', pf_total: 'Power factor', freq: 'Frequency',
  t_x: 'Temperature', gas_lel: 'Combustible gas', o2: 'Oxygen', ch4: 'Methane', level: 'Level',
  level_pct: 'Level', pressure: 'Pressure', dp: 'Differential pressure', flow: 'Flow', i_res: 'Residual current',
};
