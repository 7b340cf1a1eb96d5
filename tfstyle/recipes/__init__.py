"""Recipes: their parts, tfstyle's own recipes and the published ones."""

from tfstyle.recipes.catalog import RECIPES as RECIPES
from tfstyle.recipes.catalog import get_recipe as get_recipe
from tfstyle.recipes.loss import Loss as Loss
from tfstyle.recipes.loss import Term as Term
from tfstyle.recipes.loss import TermWeights as TermWeights
from tfstyle.recipes.parts import LBFGS as LBFGS
from tfstyle.recipes.parts import SGD as SGD
from tfstyle.recipes.parts import Adam as Adam
from tfstyle.recipes.parts import ColorTransfer as ColorTransfer
from tfstyle.recipes.parts import Decay as Decay
from tfstyle.recipes.parts import Network as Network
from tfstyle.recipes.parts import Parametrization as Parametrization
from tfstyle.recipes.parts import Start as Start
from tfstyle.recipes.parts import StyleSize as StyleSize
from tfstyle.recipes.pyramid import Pyramid as Pyramid
from tfstyle.recipes.recipe import Recipe as Recipe
