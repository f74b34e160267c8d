// Texts about how much of what was expected of each site came.
export const completenessZh = {
  title: '数据完整率',
  explain: '按站点本地日统计: 良好与存疑样本占应到样本的比例; 迟到的数据计入其发生日。低于 90 % 的加粗。',
  site: '站点',
  empty: '尚无统计',
  truncated: '站点过多, 未全部列出',
  detail: (expected: string, good: string, uncertain: string, bad: string, late: string, declared: string) =>
    `应到 ${expected}, 良好 ${good}, 存疑 ${uncertain}, 失败 ${bad}, 迟到 ${late}, 申报丢失 ${declared}`,
} as const;

export const completenessEn = {
  title: 'Completeness',
  explain: 'By the site’s own day: good and uncertain samples as a share of the expected ones; late data counts in the day of its samples. Below 90 % in bold.',
  site: 'Site',
  empty: 'Nothing is counted yet',
  truncated: 'Too many sites to list them all',
  detail: (expected: string, good: string, uncertain: string, bad: string, late: string, declared: string) =>
    `expected ${expected}, good ${good}, uncertain ${uncertain}, failed ${bad}, late ${late}, declared lost ${declared}`,
};
