import { expect, test } from 'vitest';
import { pageOf } from '../src/model/page';

test('each address names a page, whatever is typed', () => {
  expect(pageOf('/')).toEqual({ name: 'duty' });
  expect(pageOf('/site/%E5%8E%82')).toEqual({ name: 'site', id: '厂' });
  for (const path of ['/site/%', '/site/%E0%A4', '/site/a/b', '/duty/x', '/nothing']) expect(pageOf(path), path).toEqual({ name: 'nowhere' });
});
