"""The rules over REST: the list, which one is for what and why, and what a person says of a series."""
import json

import http_case


class Rules(http_case.Base):
    def ask(self, value, status=200, part=''):
        response, data = self.server.ask('POST', '/v1/rules/test', json.dumps(value), {'Content-Type': 'application/json'})
        if status >= 400:
            return self.problem(response, data, status, part)
        self.assertEqual(response.status, status, data)
        answer = json.loads(data)
        self.conforms(answer, {'$ref': '/RuleAnswer'}, 'answer')
        return answer

    def test_list(self):
        rules = self.get('/v1/rules', 'RuleList')['rules']
        self.assertEqual([(r['number'], r['modality'], r['body_part'], r['label'], r['prompts'], r['adapter'], r['model']) for r in rules],
                         [(1, 'CT', 'LIVER', 'tumour', 'wait', 'liver', 'tiny+ct'), (2, 'MR', '*', '*', 'wait', 'broken', None),
                          (3, '*', '*', '*', 'auto', None, 'tiny')])
        self.assertEqual({r[k] for r in rules for k in ('study', 'series', 'protocol', 'sender', 'orientation')}, {'*'})
        self.assertEqual(rules, self.get('/v1/models', 'ModelList')['rules'])

    def test_which_rule_and_why(self):
        answer = self.ask({'modality': 'CT', 'body_part': 'LIVER', 'series': 'SECRET^NAME', 'slices': 30, 'spacing_mm': 2.5, 'label': 'Tumour'})
        self.assertNotIn('SECRET', json.dumps(answer))
        self.assertEqual(answer['subject'], {'modality': 'CT', 'body_part': 'LIVER', 'orientation': None, 'sender': None, 'slices': 30,
                                             'spacing_mm': 2.5})
        self.assertEqual(answer['verdict'], {'rule': '3', 'number': 3, 'why': 'it is for everything', 'model': 'tiny', 'passed': [
            {'rule': '1', 'number': 1, 'why': 'it is for prompts of the label tumour only'},
            {'rule': '2', 'number': 2, 'why': 'its adapter broken cannot be used'}]})
        self.assertEqual((answer['prompts'], answer['destinations']), ('auto', ['*']))
        self.assertEqual(answer['labels'], [{'label': 'Tumour', 'verdict': {
            'rule': '1', 'number': 1, 'why': 'it is for the modality CT, the body part LIVER, the label tumour', 'model': 'tiny+ct', 'passed': []}}])
        answer = self.ask({'modality': 'MR'})
        self.assertEqual(answer['verdict']['passed'][0]['why'], 'it is for the modality CT, not MR')
        self.assertEqual(answer['labels'], [])
        self.ask({})

    def test_bad_questions(self):
        for body, part in (({'modalty': 'CT'}, 'modalty is not a known member; did you mean modality?'), ({'modality': 5}, 'modality is not a text'),
                           ({'modality': 'x' * 17}, 'modality is not a text of 1 to 16 bytes'), ({'series': ''}, 'series is not a text'),
                           ({'slices': -1}, 'slices is not a whole number'), ({'slices': 1.5}, 'slices is not'), ({'spacing_mm': 'x'}, 'spacing_mm is not'),
                           ({'job': 'x', 'modality': 'CT'}, 'beside job there is nothing to say'), ([], 'the body is not a JSON object'),
                           ({'sender': 'a\nb'}, 'sender is not a text'), ({'label': None}, 'label is not a text')):
            self.ask(body, 400, part)
        self.ask({'job': 'nosuchjob'}, 404, 'no such job')
        self.refused('POST', '/v1/rules/test', 400, 'the body is not JSON', body='{', headers={'Content-Type': 'application/json'})
        self.refused('POST', '/v1/rules/test', 400, 'or a member is there twice', body='{"slices": 1, "slices": 2}',
                     headers={'Content-Type': 'application/json'})
        self.refused('POST', '/v1/rules/test', 400, 'it must be a DICOM file', body='', headers={'Content-Type': 'application/dicom'})
        self.refused('POST', '/v1/rules/test', 503, 'headers cannot be read now', body='x', headers={'Content-Type': 'application/dicom'})
        self.refused('POST', '/v1/rules/test', 415, 'application/json or application/dicom', body='x', headers={'Content-Type': 'text/plain'})
        self.alive()

    def test_of_a_job(self):
        job = self.server.jobs['done'][0] if 'done' in self.server.jobs else next(iter(self.server.jobs.values()))[0]
        answer = self.ask({'job': job})
        self.assertEqual(answer['subject']['modality'], 'CT')
        self.assertGreater(answer['subject']['slices'], 0)
        self.assertEqual(answer['verdict']['number'], 3)


class Series(http_case.Base):
    def say(self, uid, what, body=None, status=200, part=''):
        headers = {'Content-Type': 'application/json'} if body is not None else {}
        response, data = self.server.ask('POST', '/v1/series/%s/%s' % (uid, what), None if body is None else json.dumps(body), headers)
        if status >= 400:
            return self.problem(response, data, status, part)
        self.assertEqual(response.status, status, data)
        series = json.loads(data)
        self.conforms(series, {'$ref': '/Series'}, what)
        return series

    def test_hold_release_complete_expected(self):
        uid = self.get('/v1/series', 'SeriesList')['series'][0]['series_instance_uid']
        before = self.server.changes()
        self.assertFalse(self.get('/v1/series/' + uid, 'Series')['held'])
        self.assertTrue(self.say(uid, 'hold')['held'])
        self.assertTrue(self.say(uid, 'hold')['held'])
        self.assertFalse(self.say(uid, 'release')['held'])
        self.say(uid, 'hold')
        self.assertFalse(self.say(uid, 'complete')['held'])
        self.assertEqual(self.say(uid, 'expected', {'instances': 77})['expected_instances'], 77)
        self.assertIsNone(self.say(uid, 'expected', {'instances': 0})['expected_instances'])
        self.assertEqual(self.server.changes(), before + 7, 'completeness looks at once')

    def test_refusals(self):
        for what in ('hold', 'release', 'complete'):
            self.say('1.2.3.99', what, status=404, part='there is no such series')
            self.say('1..2', what, status=404, part='uid is not a DICOM UID')
            self.refused('GET', '/v1/series/1.2/' + what, 405, 'this path takes POST')
        self.say('1.2.3.99', 'expected', {'instances': 5}, 404, 'there is no such series')
        for body in ({}, {'instances': -1}, {'instances': 1.5}, {'instances': '5'}, {'instances': 1000001}, {'instances': 5, 'x': 1}, [5]):
            self.say('1.2.3.99', 'expected', body, 400, 'the body is not {"instances": N}')


if __name__ == '__main__':
    http_case.main()
