"""The command connect says what comes next, whatever the stage of the workspace."""

from helpers.noisy import CLASSES, NoisyLearner

from al_rotate import ActiveLoop, cli


def test_connect_leads_on(studio, photographs, truth, tmp_path, capsys):
    work, token = tmp_path / "work", tmp_path / "token"
    token.write_text(studio.server.token)
    ActiveLoop(work, photographs, CLASSES, budget=4, learner=NoisyLearner(truth)).close()

    def connect():
        arguments = ["connect", work, "--url", studio.server.url, "--token-file", token, "--image-source", "local"]
        assert cli.main([*map(str, arguments), "--document-root", str(studio.root)]) == 0
        return capsys.readouterr().out.splitlines()[1:]

    assert connect() == [f"next: al-rotate query {work} --budget 4"]
    with ActiveLoop(work, learner=NoisyLearner(truth)) as loop:
        asked = loop.query()["image_id"].tolist()
    assert connect() == [f"next: al-rotate collect {work}"]
    with ActiveLoop(work, learner=NoisyLearner(truth)) as loop:
        loop.workspace.record_answers(0, truth.subset(sorted(asked)))
    assert connect() == [f"next: al-rotate train {work}"]
