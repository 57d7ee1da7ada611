import pytest

from app.config import GLOBAL_OPTIONS, GlobalOptions, Settings, load_settings, override
from pipeline.schema.errors import InputError, UsageError


def settings_of(tmp_path, text):
    path = tmp_path / "saccade.toml"
    path.write_text(text)
    return load_settings(path)


def test_without_a_file_the_defaults_hold():
    assert load_settings() == Settings()


def test_a_file_changes_what_it_names(tmp_path):
    settings = settings_of(tmp_path, '[source]\nuri = "file:a.aedat4"\nspeed = "max"\n[recogniser]\nthreshold = 0.7\n')
    assert settings.source.uri == "file:a.aedat4"
    assert settings.source.speed == "max"
    assert settings.recogniser.threshold == 0.7
    assert settings.recogniser.network == "default"


def test_the_file_of_the_command_line_is_taken(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text('[publish]\nurl = "tcp://127.0.0.1:7000"\n')
    token = GLOBAL_OPTIONS.set(GlobalOptions(config=str(path)))
    try:
        assert load_settings().publish.url == "tcp://127.0.0.1:7000"
    finally:
        GLOBAL_OPTIONS.reset(token)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[source]\nspeeed = 1\n", "speeed"),
        ("[sauce]\n", "sauce"),
        ("[recogniser]\nthreshold = 1.5\n", "threshold"),
        ('[recogniser]\nreadout = "both"\n', "readout"),
        ("[source\n", "line 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, names):
    with pytest.raises(UsageError, match=names):
        settings_of(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml"):
        load_settings(tmp_path / "none.toml")


def test_flags_that_were_given_beat_the_file():
    values = override(Settings().recogniser, network="mine", readout=None)
    assert (values["network"], values["readout"]) == ("mine", "running")
