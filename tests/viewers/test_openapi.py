#!/usr/bin/python3
"""/openapi.json by a validator of others: the document is OpenAPI 3.1, and what the routes really answer is what it says."""
import json
import os
import re
import subprocess
import sys

import viewers  # first: it sets the path to the harness
from viewers import NPM, fetched, need, npm

import harness

sys.path.insert(0, os.path.join(harness.ROOT, 'tests', 'unit', 'http'))
import http_case  # noqa: E402  # pylint: disable=wrong-import-position

PACKAGES = ('@seriousme/openapi-schema-validator@2.11.0', 'ajv@8.17.1', 'ajv-formats@3.0.1')
CHECK = '''
import {readFileSync} from 'node:fs';
import {Validator} from '@seriousme/openapi-schema-validator';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
const {document, answers} = JSON.parse(readFileSync(0));
const wrong = [];
const result = await new Validator().validate(structuredClone(document));
if (!result.valid) wrong.push('the document: ' + JSON.stringify(result.errors));
const ajv = new Ajv2020.default({strict: false, allErrors: true});
addFormats.default(ajv);
ajv.addSchema(document, 'openapi');
const escape = (s) => s.replaceAll('~', '~0').replaceAll('/', '~1');
for (const {method, pattern, status, media, body} of answers) {
  const operation = document.paths[pattern][method];
  const key = status in operation.responses ? String(status) : 'default';
  if (key === 'default' && status < 400) { wrong.push(`${method} ${pattern}: ${status} is not in the document`); continue; }
  let at = `openapi#/paths/${escape(pattern)}/${method}/responses/${key}`, response = operation.responses[key];
  if (response.$ref) { at = 'openapi' + response.$ref; response = response.$ref.split('/').slice(1).reduce((o, k) => o[k], document); }
  if (body === null) continue;
  if (!(media in (response.content ?? {}))) { wrong.push(`${method} ${pattern}: ${status} answers ${media}`); continue; }
  const check = ajv.getSchema(at + '/content/' + encodeURIComponent(escape(media)) + '/schema') ?? ajv.compile({$ref: at + '/content/' + encodeURIComponent(escape(media)) + '/schema'});
  if (!check(body)) wrong.push(`${method} ${pattern}: ${status}: ${ajv.errorsText(check.errors)}`);
}
console.log(JSON.stringify(wrong));
'''


class OpenApi(harness.unittest.TestCase):
    def setUp(self):
        need('node', 'npm')
        self.folder = os.path.join(NPM, 'openapi')
        os.makedirs(self.folder, exist_ok=True)
        fetched(('openapi-is-there', ' '.join(PACKAGES)), lambda: npm('install', '--prefix', self.folder, *PACKAGES))
        with open(os.path.join(self.folder, 'check.mjs'), 'w', encoding='utf-8') as file:
            file.write(CHECK)
        http_case.SERVE[:] = [os.path.join(harness.BUILD, 'tests', 'unit', 'http', 'http_serve')]
        self.server = http_case.Server()
        self.addCleanup(self.server.stop)

    def check(self, document, answers):
        done = subprocess.run(['node', 'check.mjs'], cwd=self.folder, input=json.dumps({'document': document, 'answers': answers}), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return json.loads(done.stdout)

    def answers(self, document):
        """Every route as it answers: with ids that are there, with ids that are not, and with nonsense."""
        job, seen = self.server.jobs['succeeded'][0], []
        bodies = {'expectImages': {'instances': 3}, 'createAnnotation': http_case.body(), 'testRules': {'modality': 'CT', 'label': 'liver'},
                  'prioritiseJob': {'priority': 'urgent'}}
        created = json.loads(self.server.ask('POST', '/v1/annotations', json.dumps(http_case.body()), {'Content-Type': 'application/json'})[1])
        good = {'jobs': job, 'annotations': created['id'], 'instances': http_case.SERIES + '.4.1', 'series': http_case.SERIES + '.1'}
        for pattern, methods in document['paths'].items():
            kind = pattern.split('/')[2] if pattern.startswith('/v1/') else ''
            for method, operation in sorted(methods.items(), key=lambda m: m[0] == 'delete'):
                for value in (good.get(kind, 'pacs'), '1.2.3.999', '..'):
                    for query in ('', '?nonsense=1'):
                        body = bodies.get(operation['operationId'], {}) if method == 'post' else None
                        ask = 'HEAD' if pattern == '/v1/events' else method.upper()
                        response, data = self.server.ask(ask, re.sub(r'\{\w+\}', value, pattern) + query, None if body is None else json.dumps(body),
                                                         {'Content-Type': 'application/json'})
                        media = response.getheader('Content-Type')
                        seen.append({'method': method, 'pattern': pattern, 'status': response.status, 'media': media,
                                     'body': json.loads(data) if data and 'json' in media else None})
        return seen

    def test_document_and_answers(self):
        document = json.loads(self.server.ask('GET', '/openapi.json')[1])
        answers = self.answers(document)
        self.assertGreater(len({(a['method'], a['pattern']) for a in answers if a['status'] < 300}), 20)
        self.assertEqual(self.check(document, answers), [])
        # and the check does see what is wrong
        job = next(a for a in answers if a['pattern'] == '/v1/jobs/{id}' and a['status'] == 200)
        for spoil in (lambda b: b.pop('state'), lambda b: b.update(more=1), lambda b: b.update(attempt='1')):
            body = json.loads(json.dumps(job['body']))
            spoil(body)
            self.assertEqual(len(self.check(document, [{**job, 'body': body}])), 1)
        del document['paths']['/v1/jobs']['get']['responses']['200']['description']
        self.assertEqual(len(self.check(document, [])), 1)


if __name__ == '__main__':
    assert viewers
    harness.main()
