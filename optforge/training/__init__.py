"""Training: many candidates at once, or one model at a time."""

from optforge.training.choice import spared_by_compiler as spared_by_compiler
from optforge.training.choice import trained_alone as trained_alone
from optforge.training.choice import ways_to_train as ways_to_train
from optforge.training.devices import checked_device as checked_device
from optforge.training.devices import is_gpu as is_gpu
from optforge.training.flatness import Flatness as Flatness
from optforge.training.flatness import WeightNoise as WeightNoise
from optforge.training.flatness import weight_noise_loss as weight_noise_loss
from optforge.training.kernel import has_compiler as has_compiler
from optforge.training.memory import is_forked as is_forked
from optforge.training.memory import keep_freed_memory as keep_freed_memory
from optforge.training.memory import one_thread as one_thread
from optforge.training.memory import return_freed_memory as return_freed_memory
from optforge.training.population import Judge as Judge
from optforge.training.population import Trained as Trained
from optforge.training.population import train_population as train_population
from optforge.training.pretrain import pretrain as pretrain
from optforge.training.record import Recording as Recording
from optforge.training.record import record as record
from optforge.training.single import Result as Result
from optforge.training.single import evaluate_model as evaluate_model
from optforge.training.single import train_single as train_single
from optforge.training.stack import Stack as Stack
from optforge.training.trainee import ProgramOrTrainee as ProgramOrTrainee
from optforge.training.trainee import Trainee as Trainee
from optforge.training.trainee import trainee as trainee
