// The invented plants of the mock: sites, devices, points, and the rules their alarms come from.
// Every name says 示例 (example): nothing here is a real firm. Used by the mock server only, never shipped.

const QUANTITIES = {
  p_total: ['kW', '总有功功率', 'Active power'],
  i_a: ['A', 'A 相电流', 'Current A'],
  u_a: ['V', 'A 相电压', 'Voltage A'],
  t_x: ['°C', '温度', 'Temperature'],
  gas_lel: ['%LEL', '可燃气体', 'Combustible gas'],
  gas_ppm: ['ppm', '氨气浓度', 'Ammonia'],
  flow: ['m³/h', '冷却水流量', 'Cooling water flow'],
  pressure: ['MPa', '循环水压力', 'Circulating water pressure'],
  level_pct: ['%', '液位', 'Level'],
  dp: ['Pa', '进出口压差', 'Differential pressure'],
};

/** quantity: [usual value, swing] */
function device(id, name, role, gateway, online, usual) {
  const points = Object.keys(usual).map((quantity) => {
    const [unit, name_zh, name_en] = QUANTITIES[quantity];
    return { quantity, unit, name_zh, name_en };
  });
  return { info: { id, name, role, gateway, online, points }, usual };
}

export const PLANTS = [
  {
    id: 'si-1', name: '示例硅业一厂', county: '533401', county_name: '香格里拉市', sectors: ['冶金'], completeness: 0.997,
    contacts: [{ name: '和师傅', role: '中控室', phone: '0887-000-0101' }, { name: '李安全', role: '安全员', phone: '138-0000-0101' }],
    devices: [
      device('ef1-tr', '1#电炉变压器', 'production', 'gw-07', true, { t_x: [58, 4], p_total: [8200, 260], i_a: [410, 14], u_a: [10150, 40] }),
      device('cw-1', '1#炉循环水', 'production', 'gw-07', true, { flow: [182, 5], pressure: [0.32, 0.01] }),
      device('df-3', '3#除尘风机', 'dust_fan', 'gw-07', true, { i_a: [86, 3], dp: [980, 60] }),
    ],
  },
  {
    id: 'cu-2', name: '示例铜业选厂', county: '533401', county_name: '香格里拉市', sectors: ['非煤矿山'], completeness: 0.991,
    contacts: [{ name: '王值班', role: '调度', phone: '0887-000-0202' }],
    devices: [
      device('in-1', '总进线', 'incomer', 'gw-11', true, { p_total: [2350, 110], i_a: [132, 6], u_a: [10080, 30] }),
      device('crush', '破碎机', 'production', 'gw-11', true, { p_total: [420, 40], i_a: [690, 60] }),
    ],
  },
  {
    id: 'chem-3', name: '示例化工', county: '533401', county_name: '香格里拉市', sectors: ['危险化学品'], completeness: 0.984,
    contacts: [{ name: '杨主任', role: '中控室', phone: '0887-000-0303' }],
    devices: [
      device('tk-301', 'T-301 储罐', 'tank', 'gw-12', true, { level_pct: [71, 2], t_x: [24, 1] }),
      device('gd-05', '罐区探测器 GD-05', 'gas_detector', 'gw-12', true, { gas_lel: [2.1, 0.8] }),
      device('gd-06', '泵房探测器 GD-06', 'gas_detector', 'gw-12', null, { gas_lel: [1.4, 0.5] }),
    ],
  },
  {
    id: 'mine-4', name: '示例铅锌矿', county: '533422', county_name: '德钦县', sectors: ['非煤矿山'], completeness: 0.999,
    contacts: [{ name: '扎西', role: '调度', phone: '0887-000-0404' }],
    devices: [
      device('fan-a', '主通风机 A', 'main_fan', 'gw-15', true, { i_a: [148, 4], p_total: [96, 3] }),
      device('fan-b', '主通风机 B', 'main_fan', 'gw-15', true, { i_a: [0.4, 0.1], p_total: [0.1, 0.02] }),
      device('pump-1', '主排水泵', 'drain_pump', 'gw-15', true, { i_a: [62, 2], level_pct: [38, 3] }),
    ],
  },
  {
    id: 'cold-5', name: '示例冷链库', county: '533423', county_name: '维西傈僳族自治县', sectors: ['涉氨制冷'], completeness: 0.61,
    contacts: [{ name: '余师傅', role: '值班', phone: '0887-000-0505' }],
    devices: [
      device('nh3-1', '机房氨探测器', 'gas_detector', 'gw-21', false, { gas_ppm: [3, 1] }),
      device('comp-1', '1#压缩机', 'production', 'gw-21', false, { i_a: [118, 6], p_total: [71, 4] }),
    ],
  },
  {
    id: 'cem-6', name: '示例水泥', county: '533423', county_name: '维西傈僳族自治县', sectors: ['建材'], completeness: 0.995,
    contacts: [],
    devices: [
      device('in-1', '总进线', 'incomer', 'gw-22', true, { p_total: [3100, 150], i_a: [171, 8], u_a: [10110, 30] }),
      device('bag-2', '2#袋式除尘', 'dust_fan', 'gw-22', true, { i_a: [54, 2], dp: [1120, 90] }),
    ],
  },
];

export const RULES = {
  R26: {
    version: '7', name_zh: '温度高高', name_en: 'Temperature high-high', clause: '重点监管工艺 · 站点工艺卡',
    consequence_zh: '绝缘油过热分解, 可能喷油起火', consequence_en: 'Insulating oil may decompose, spray and catch fire',
    action_zh: ['电话中控室核实油温与循环水', '要求降负荷至 60 %, 检查循环水泵', '15 分钟无反馈, 上报带班领导'],
    action_en: ['Call the control room: oil temperature, circulating water', 'Ask for load down to 60 %, check the pump', 'No answer in 15 min: report to the officer on duty'],
  },
  R21: {
    version: '4', name_zh: '可燃气体超限', name_en: 'Combustible gas above limit', clause: 'GB/T 50493-2019',
    consequence_zh: '泄漏扩散, 遇火源爆燃', consequence_en: 'The leak may spread and ignite',
    action_zh: ['电话中控室: 是否泄漏, 是否已停泵关阀', '确认无动火、无车辆, 人员撤至上风向', '5 分钟无反馈, 通知消防与带班领导'],
    action_en: ['Call the control room: leak? pumps stopped, valves shut?', 'Confirm no hot work, no vehicles, people upwind', 'No answer in 5 min: fire brigade and officer on duty'],
  },
  R15: {
    version: '3', name_zh: '除尘未开生产', name_en: 'Production without dust collection', clause: 'GB 15577-2018',
    consequence_zh: '粉尘积聚, 有爆炸危险', consequence_en: 'Dust builds up: danger of explosion',
    action_zh: ['电话企业: 除尘风机为何停', '要求停产至除尘恢复'], action_en: ['Call the plant: why did the fan stop', 'Ask to stop production until it runs'],
  },
  R27: {
    version: '5', name_zh: '冷却水流量低', name_en: 'Cooling water flow low', clause: '工贸重大隐患判定标准',
    consequence_zh: '炉体过热漏水, 可能蒸汽爆炸', consequence_en: 'The furnace may overheat, leak and explode by steam',
    action_zh: ['核实循环水泵与进出水流量', '必要时紧急停炉'], action_en: ['Check pump and flows', 'Emergency stop of the furnace if needed'],
  },
  R05: {
    version: '2', name_zh: '超合同需量', name_en: 'Over contract demand', clause: '供用电合同',
    consequence_zh: '线路过载, 电费加罚', consequence_en: 'Line overload, surcharge',
    action_zh: ['通知企业调整负荷'], action_en: ['Tell the plant to shift load'],
  },
  R24: {
    version: '6', name_zh: '储罐液位高', name_en: 'Tank level high', clause: 'SH/T 3007',
    consequence_zh: '满罐溢流', consequence_en: 'The tank may overflow',
    action_zh: ['核实进料是否停止', '准备倒罐'], action_en: ['Is filling stopped', 'Prepare to transfer'],
  },
  R18: {
    version: '2', name_zh: '除尘压差异常', name_en: 'Dust collector pressure abnormal', clause: 'AQ 4273-2016',
    consequence_zh: '滤袋破损或堵塞', consequence_en: 'A bag is broken or blocked',
    action_zh: ['安排检查滤袋'], action_en: ['Have the bags checked'],
  },
  R43: {
    version: '1', name_zh: '保护状态不明', name_en: 'Protection state unknown', clause: '平台规则',
    consequence_zh: '探测器离线, 无法判断是否泄漏', consequence_en: 'Detector offline: a leak would not be seen',
    action_zh: ['电话企业人工检测', '安排恢复网关供电与网络'], action_en: ['Ask for a manual measurement', 'Restore power and network of the gateway'],
  },
};
