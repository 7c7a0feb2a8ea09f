"""Trains the encoder that reads class and content from an image."""

from types import SimpleNamespace

from iglo.params.class_content import ClassContentParams
from iglo.params.run_record import RunRecord, prepared_data
from iglo.runtime.device import start
from iglo.training.encoder_stages import learn_encoder, learn_jointly
from stages.common import Work, stage
from stages.learning import open_trainer, save_trained


@stage("images", "model", "out", params_type=ClassContentParams)
def main(arguments: SimpleNamespace, params: ClassContentParams) -> Work:
    """Trains the encoder on the learned codes, then together with the generator."""
    with open_trainer("class-content-encoder", arguments, params, start(params.precision)) as trainer:
        first, second = learn_encoder(trainer.inside("codes")), learn_jointly(trainer.inside("joint"))
        if second.images_seen:
            trainer.history.run = RunRecord.of(params, prepared_data(arguments.images))
        save_trained(trainer, second, arguments.out)
    return Work(first.images_seen + second.images_seen, first.earlier_seconds + second.earlier_seconds)


if __name__ == "__main__":
    main()
